"""ReportingExporter: one line when spans cannot be sent, one when they can again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from graymw.runtime import counters
from graymw.telemetry.exporters import Export
from graymw.telemetry.reporting import ReportingExporter

SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
theirs = logging.getLogger(__name__)


class Scripted(SpanExporter):
    """Does with each batch what it is told."""

    def __init__(self, *batches: Callable[[], SpanExportResult]) -> None:
        self.batches = list(batches)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self.batches.pop(0)()


def refused() -> SpanExportResult:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except ConnectionRefusedError as error:
            raise RuntimeError("a pool of connections with a very long story") from error
    except RuntimeError as error:
        theirs.warning("Transient error %s encountered, retrying in %.2fs.", error, 1.0)
        theirs.error("Failed to export.")
    return FAILURE


def raises() -> SpanExportResult:
    raise TimeoutError("it took too long")


def silently() -> SpanExportResult:
    return FAILURE


def claims_success() -> SpanExportResult:
    theirs.error("HTTP status code: 500")
    return SUCCESS


def works() -> SpanExportResult:
    theirs.info("sent")
    return SUCCESS


def exporting(*batches: Callable[[], SpanExportResult]) -> ReportingExporter:
    return ReportingExporter(Export("scripted", "http://collector", Scripted(*batches)))


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        (refused, "[Errno 111] Connection refused"),
        (raises, "it took too long"),
        (silently, "no reason was given"),
        (claims_success, "HTTP status code: 500"),
    ],
)
def test_a_failure_is_told_once_with_its_reason(
    failing: Callable[[], SpanExportResult], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = exporting(failing, failing, failing)
    for _ in range(3):
        exporter.export([object(), object()])  # type: ignore[list-item]
    assert caplog.messages == [
        f"spans cannot be sent to http://collector, and may be lost until they can: {reason}",
    ]
    assert exporter.is_failing
    assert counters.snapshot() == {"telemetry.spans_lost": 6}


def test_that_it_works_again_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    exporter = exporting(works, refused, works, works, refused)
    for _ in range(5):
        exporter.export([])
    assert [message.partition(" http")[0] for message in caplog.messages] == [
        "spans cannot be sent to",
        "spans are sent to",
        "spans cannot be sent to",
    ]


def test_a_failure_is_known_while_the_exporter_still_tries(caplog: pytest.LogCaptureFixture) -> None:
    trying, known = threading.Event(), threading.Event()

    def slowly() -> SpanExportResult:
        theirs.warning("Transient error %s", "503")
        trying.set()
        known.wait(5)
        return SUCCESS

    exporter = exporting(slowly)
    thread = threading.Thread(target=exporter.export, args=([],))
    thread.start()
    trying.wait(5)
    assert exporter.is_failing
    known.set()
    thread.join(5)
    assert not exporter.is_failing
    assert "telemetry.spans_lost" not in counters.snapshot()


def test_what_others_log_there_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    exporting()
    theirs.warning("somebody else's exporter failed")
    assert caplog.messages == ["somebody else's exporter failed"]


def test_flushing_and_ending_are_the_exporters() -> None:
    called: list[Any] = []

    class Noting(SpanExporter):
        def shutdown(self) -> None:
            called.append("shutdown")

        def force_flush(self, timeout_millis: int = 0) -> bool:
            called.append(timeout_millis)
            return True

    exporter = ReportingExporter(Export("noting", "nowhere", Noting()))
    assert exporter.force_flush(7)
    exporter.shutdown()
    assert called == [7, "shutdown"]
