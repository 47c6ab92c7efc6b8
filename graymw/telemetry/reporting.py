"""Says once that spans or metrics cannot be sent, instead of several lines with every batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from graymw.runtime import counters
from graymw.telemetry.exporters import Export

log = logging.getLogger("graymw.telemetry")

_LAYERS: Final = 16


class Delivery:
    """Whether what one exporter sends reaches its target; tells when that ends and when it begins again.

    Args:
        what: What is sent, for people: ``spans``.
        target: Where it goes, for people; without credentials.
        loggers: Where the exporter tells of failures.
        loss: What becomes of it meanwhile, for people.

    Attributes:
        is_failing: Whether the latest attempt failed. It may be going on: exporters try a batch several times.
    """

    def __init__(self, what: str, target: str, loggers: Iterable[str], loss: str = "") -> None:
        self.is_failing = False
        self._what = what
        self._target = target
        self._loss = loss
        self._quiet = _Quiet(self._failed)
        for name in loggers:
            logging.getLogger(name).addFilter(self._quiet)

    def attempt(self, send: Callable[[], bool]) -> bool:
        """Send a batch; False where it failed, which is told, not raised.

        Args:
            send: Returns whether it sent the batch.
        """
        with self._quiet:
            try:
                sent = send()
            except Exception as error:  # noqa: BLE001 - a vendor's exporter may fail in any way
                sent = False
                self._failed(_cause(error))
            sent = sent and not self._quiet.told_error
        if not sent:
            self._failed("no reason was given")
        elif self.is_failing:
            self.is_failing = False
            log.warning("%s are sent to %s again", self._what, self._target)
        return sent

    def _failed(self, reason: str) -> None:
        if not self.is_failing:
            self.is_failing = True
            log.warning("%s cannot be sent to %s%s: %s", self._what, self._target, self._loss, reason)


class ReportingExporter(SpanExporter):
    """Exports by another exporter; tells when that begins to fail and when it works again.

    Args:
        export: The exporter, and where its spans go.
    """

    def __init__(self, export: Export) -> None:
        self._exporter = export.exporter
        loggers = export.loggers or (type(export.exporter).__module__,)
        self._delivery = Delivery("spans", export.target, loggers, ", and may be lost until they can")

    @property
    def is_failing(self) -> bool:
        """Whether spans cannot be sent just now."""
        return self._delivery.is_failing

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; a failure is told, not raised."""
        sent = self._delivery.attempt(lambda: self._exporter.export(spans) is SpanExportResult.SUCCESS)
        if not sent:
            counters.count("telemetry.spans_lost", len(spans))
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Take no more spans."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter itself holds back."""
        return self._exporter.force_flush(timeout_millis)


class _Quiet(logging.Filter):
    """While a thread sends a batch, keeps what the exporter logs in it to itself, and hands the reasons on.

    Args:
        on_failure: Takes each reason.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        super().__init__()
        self._on_failure = on_failure
        self._thread = threading.local()

    def __enter__(self) -> None:
        self._thread.told_error = False

    def __exit__(self, *_: object) -> None:
        del self._thread.told_error

    @property
    def told_error(self) -> bool:
        """Whether an error was logged: some exporters claim success all the same."""
        return bool(self._thread.told_error)

    def filter(self, record: logging.LogRecord) -> bool:
        if "told_error" not in self._thread.__dict__ or record.levelno < logging.WARNING:
            return True
        self._thread.told_error = self._thread.told_error or record.levelno >= logging.ERROR
        self._on_failure(_reason(record))
        return False


def _reason(record: logging.LogRecord) -> str:
    arguments = record.args if isinstance(record.args, tuple) else ()
    errors = [argument for argument in arguments if isinstance(argument, BaseException)]
    return _cause(errors[0]) if errors else record.getMessage()


def _cause(error: BaseException) -> str:
    """What lies under the layers of HTTP libraries: ``[Errno 111] Connection refused``."""
    for _ in range(_LAYERS):
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__
