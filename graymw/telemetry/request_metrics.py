"""Decisions, durations and errors of requests, as an observer of them (``graymw.runtime.observing``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, Histogram, Observation

from graymw.core.context import GrayContext, Reason
from graymw.runtime.admission import Admitted
from graymw.runtime.engine import CACHE_LIMIT
from graymw.runtime.live_facts import LiveFacts
from graymw.runtime.observing import Ending, Finish
from graymw.runtime.tally import Tally
from graymw.telemetry.labels import Label, label_of

RELEASE: Final = "gray.release"
VERSION: Final = "gray.version"
REASON: Final = "gray.reason"
ACTIVE: Final = "gray.active"
STATUS: Final = "gray.status_class"

_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_SWITCHED: Final = 101
_GONE: Final = frozenset({"CancelledError", "GeneratorExit", "ClientDisconnect"})
"""What is raised where nobody waits for the answer any more: no fault of the application."""

_RPC_CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "OK": "2xx",
        "CANCELLED": "4xx",
        "INVALID_ARGUMENT": "4xx",
        "NOT_FOUND": "4xx",
        "ALREADY_EXISTS": "4xx",
        "PERMISSION_DENIED": "4xx",
        "UNAUTHENTICATED": "4xx",
        "RESOURCE_EXHAUSTED": "4xx",
        "FAILED_PRECONDITION": "4xx",
        "ABORTED": "4xx",
        "OUT_OF_RANGE": "4xx",
    }
)
"""Class of the HTTP status that google.rpc.Code maps each gRPC status to; the others are faults of the server."""


class Decided(NamedTuple):
    """What decisions are counted by."""

    release: str
    version: str
    reason: Reason


class _Series:
    """What all requests with one gray context are counted and timed as."""

    __slots__ = ("_attributes", "_duration", "_tally", "decided")

    def __init__(
        self, duration: Histogram, decided: tuple[Decided, ...], shown: Iterable[Label], tally: Tally[Decided]
    ) -> None:
        self._duration = duration
        self._tally = tally
        self._attributes = {
            of: [{RELEASE: label.release, VERSION: label.version, ACTIVE: label.active, STATUS: of} for label in shown]
            for of in _CLASSES
        }
        self.decided = decided

    def finish(self, ending: Ending) -> None:
        """A request was answered. How long a WebSocket stays open says nothing."""
        if ending.status != _SWITCHED:
            for attributes in self._attributes[status_class(ending)]:
                self._duration.record(ending.seconds, attributes)


def status_class(ending: Ending) -> str:
    """``2xx``, ``5xx`` …: by the HTTP status, or the one that a gRPC status maps to. An answer that broke is a 5xx."""
    if ending.rpc_status is not None:
        return _RPC_CLASSES.get(ending.rpc_status, "5xx")
    if ending.error is not None and ending.error not in _GONE:
        return "5xx"
    if ending.status is None:
        return "5xx" if ending.error is None else "4xx"
    return _CLASSES[min(max(ending.status // 100, 1), 5) - 1]


class RequestMetrics:
    """Observes requests. A request is timed by the release that governs this service, else by each that is decided.

    Attributes:
        duration: Histogram of their durations in seconds.
    """

    def __init__(self, duration: Histogram) -> None:
        self.duration = duration
        self._tally: Tally[Decided] = Tally()
        self._series: dict[GrayContext, _Series] = {}

    def __call__(self, admitted: Admitted, _facts: LiveFacts) -> Finish | None:
        """Count a request's decisions; None where there are none."""
        gray = admitted.gray
        if not gray:
            return None
        series = self._series.get(gray) or self._remembered(admitted)
        self._tally.add(series.decided)
        return series.finish

    def _remembered(self, admitted: Admitted) -> _Series:
        gray = admitted.gray
        document, settings = admitted.snapshot.document, admitted.carried.engine.settings
        labels = {name: label_of(decision, document, settings) for name, decision in gray.decisions.items()}
        decided = tuple(
            Decided(labels[name].release, labels[name].version, decision.reason)
            for name, decision in gray.decisions.items()
        )
        shown = [labels[gray.primary]] if gray.primary else dict.fromkeys(labels.values())
        series = _Series(self.duration, decided, shown, self._tally)
        if len(self._series) >= CACHE_LIMIT:
            self._series.clear()
        self._series[gray] = series
        return series

    def decisions(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Callback of an observable counter."""
        for decided, count in self._tally.snapshot().items():
            yield Observation(count, {RELEASE: decided.release, VERSION: decided.version, REASON: decided.reason})
