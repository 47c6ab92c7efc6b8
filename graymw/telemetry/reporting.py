"""Says once that spans cannot be sent, instead of several lines with every batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from graymw.runtime import counters
from graymw.telemetry.exporters import Export

log = logging.getLogger("graymw.telemetry")

_LAYERS = 16


class ReportingExporter(SpanExporter):
    """Exports by another exporter; tells when that begins to fail and when it works again.

    Args:
        export: The exporter, and where its spans go.
    """

    def __init__(self, export: Export) -> None:
        self._exporter = export.exporter
        self._target = export.target
        self._failing = False
        self._quiet = _Quiet()
        for name in export.loggers or (type(export.exporter).__module__,):
            logging.getLogger(name).addFilter(self._quiet)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; a failure is told, not raised."""
        self._quiet.begin()
        raised = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - a vendor's exporter may fail in any way
            result, raised = SpanExportResult.FAILURE, _cause(error)
        reason, told_failure = self._quiet.end()
        reason = reason or raised or "no reason was given"
        failing = told_failure or result is SpanExportResult.FAILURE
        if failing:
            counters.count("telemetry.spans_lost", len(spans))
        if failing and not self._failing:
            log.warning("spans cannot be sent to %s, and are dropped until they can: %s", self._target, reason)
        elif self._failing and not failing:
            log.warning("spans are sent to %s again", self._target)
        self._failing = failing
        return result

    def shutdown(self) -> None:
        """Take no more spans."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter itself holds back."""
        return self._exporter.force_flush(timeout_millis)


class _Quiet(logging.Filter):
    """Keeps the exporter's own records of a batch to itself; the first one says why it fails."""

    def __init__(self) -> None:
        super().__init__()
        self._batch = threading.local()

    def begin(self) -> None:
        self._batch.reason, self._batch.failed = "", False

    def end(self) -> tuple[str, bool]:
        """The reason, and whether an error was told: some exporters claim success all the same."""
        found = self._batch.__dict__
        return found.pop("reason"), found.pop("failed")

    def filter(self, record: logging.LogRecord) -> bool:
        if "reason" not in self._batch.__dict__ or record.levelno < logging.WARNING:
            return True
        self._batch.reason = self._batch.reason or _reason(record)
        self._batch.failed = self._batch.failed or record.levelno >= logging.ERROR
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
