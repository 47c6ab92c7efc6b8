"""Log records that say which version their request goes to."""

from __future__ import annotations

import asyncio
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from calling import ask_asgi
from one_span import GRAY, TRACE, TRACEPARENT
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import graymw
from graymw.telemetry import logs
from graymw.telemetry.logs import FIELDS, GrayLogFilter, add_gray_context

log = logging.getLogger("application")


class Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler = Keeping()
    handler.addFilter(GrayLogFilter())
    log.addHandler(handler)
    yield handler.records
    log.removeHandler(handler)


def fields(record: logging.LogRecord) -> dict[str, str]:
    return {name: getattr(record, name) for name in FIELDS}


async def answer(scope: Any, receive: Any, send: Any) -> None:
    log.warning("working")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_a_record_within_a_request_names_version_and_trace(
    records: list[logging.LogRecord], spans: InMemorySpanExporter, settings: dict[str, Any]
) -> None:
    asyncio.run(ask_asgi(graymw.install(answer, settings=settings), "/", {**GRAY, **TRACEPARENT}))
    (span,) = spans.get_finished_spans()
    (record,) = records
    assert fields(record) == {
        "gray_release": "checkout",
        "gray_version": "v2",
        "trace_id": TRACE,
        "span_id": format(span.context.span_id, "016x"),
    }


def test_a_record_outside_any_request_has_empty_fields(records: list[logging.LogRecord]) -> None:
    log.warning("starting")
    assert fields(records[0]) == dict.fromkeys(FIELDS, "")


def test_a_field_that_is_there_already_stays(records: list[logging.LogRecord]) -> None:
    with graymw.use("checkout", "v2"):
        log.warning("elsewhere", extra={"trace_id": "mine"})
    assert fields(records[-1])["trace_id"] == "mine"
    assert fields(records[-1])["gray_version"] == "v2"


def test_a_record_on_which_all_fields_are_is_left_alone(records: list[logging.LogRecord]) -> None:
    with graymw.use("checkout", "v2"):
        log.warning("queued")
    (record,) = records
    with graymw.use("checkout", "v3"):  # a listener's thread may be busy with another request
        assert GrayLogFilter().filter(record)
    assert fields(record)["gray_version"] == "v2"


def test_a_fault_costs_the_fields_and_not_the_record(
    records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise LookupError

    monkeypatch.setattr(logs, "carried_in", broken)
    log.warning("working")
    assert fields(records[0]) == dict.fromkeys(FIELDS, "")


def test_a_format_string_may_name_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configuration = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"gray": {"()": "graymw.GrayLogFilter"}},
        "formatters": {"line": {"format": "%(message)s %(gray_release)s=%(gray_version)s"}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "filters": ["gray"],
                "formatter": "line",
                "stream": "ext://sys.stdout",
            }
        },
        "loggers": {"configured": {"handlers": ["console"], "propagate": False}},
    }
    logging.config.dictConfig(configuration)
    with graymw.use("checkout", "v2"):
        logging.getLogger("configured").warning("working")
    logging.getLogger("configured").handlers.clear()
    assert capsys.readouterr().out == "working checkout=v2\n"


def test_structlog_renders_them(capsys: pytest.CaptureFixture[str]) -> None:
    chain = [graymw.add_gray_context, structlog.processors.JSONRenderer(sort_keys=True)]
    logger = structlog.wrap_logger(structlog.PrintLogger(), processors=chain)
    logger.info("starting")
    with graymw.use("checkout", "v2"):
        logger.info("working", order=7)
    assert capsys.readouterr().out.splitlines() == [
        '{"event": "starting"}',
        '{"event": "working", "gray_release": "checkout", "gray_version": "v2", "order": 7}',
    ]


def test_structlog_events_get_what_there_is() -> None:
    assert add_gray_context(None, "info", {"event": "starting"}) == {"event": "starting"}
    with graymw.use("checkout", "v2"):
        event = add_gray_context(None, "info", {"event": "working", "gray_release": "mine"})
    assert event == {"event": "working", "gray_release": "mine", "gray_version": "v2"}
