"""Client calls that left a request's work without its context: counted, and told once for each place.

Two things prove it. A call is made within a request whose OpenTelemetry context somebody replaced: always seen. Or work
was handed over by a request to something that carries no context: seen where handovers are watched
(``GRAYMW_DETECT_LOST_CONTEXT``, pytest's ``gray_strict_context``; ``graymw.clients.handovers``). Calls without any
context prove nothing, as jobs and warm-ups make them too; in a process that serves they are counted as
``outbound.uncarried``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from graymw.runtime import counters
from graymw.runtime.call_site import call_site
from graymw.runtime.current import REQUEST, current_carried
from graymw.runtime.engine import Engine

log = logging.getLogger("graymw.lost_context")

Kind: TypeAlias = Literal["thread", "executor", "task", "queue"]

_MENDS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "thread": "the thread started at %s does not carry it; make it a graymw.GrayThread, or give it "
        "graymw.carry(function)",
        "executor": "the work submitted at %s does not carry it; submit graymw.carry(function), or use "
        "graymw.GrayThreadPoolExecutor",
        "task": "the task created at %s was given a context of its own; leave context= out",
        "queue": "what was put into a queue at %s is worked on by a task or thread that is older than the request; "
        "put graymw.carry(function) there, and let the worker call it",
    }
)
_REPLACED: Final = "another OpenTelemetry context was attached in its place; detach that before the call"


class Origin(NamedTuple):
    """How a request handed work over without its context.

    Attributes:
        place: Line of the application that did it.
    """

    kind: Kind
    place: str

    @property
    def mend(self) -> str:
        """What happened there, and what to do about it."""
        return _MENDS[self.kind] % self.place


ORIGIN: Final[ContextVar[Origin | None]] = ContextVar("graymw_origin", default=None)
"""Set where work began that a request handed over; means nothing where the work has the context all the same."""


def origin_of_what_begins_here(kind: Kind) -> Origin | None:
    """Origin of work that is being handed over now; None where no request, or one without decisions, does it."""
    carried = current_carried()
    if carried is None:
        return ORIGIN.get()
    return Origin(kind, call_site()) if carried.gray else None


def call_without_context(engine: Engine, host: str) -> None:
    """A client call is being made where no gray context is. Never raises.

    Args:
        engine: Of the process; nothing is told unless it serves.
        host: Called host; one that would not be told the decisions loses nothing.
    """
    if not engine.guards_inbound:
        return
    counters.count("outbound.uncarried")
    try:
        _look_for_proof(engine, host)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the call
        counters.count("outbound.error")
        counters.once(log, f"lost_context:{type(error).__name__}", logging.ERROR, "not looked into: %r", error)


def _look_for_proof(engine: Engine, host: str) -> None:
    request, origin = REQUEST.get(), ORIGIN.get()
    replaced = request is not None and bool(request.gray)
    if (not replaced and origin is None) or not engine.snapshot.egress.allows(host):
        return
    counters.count("lost_context")
    place = call_site()
    mend = _REPLACED if replaced or origin is None else origin.mend
    counters.once(
        log,
        f"lost_context:{place}",
        logging.WARNING,
        "the call to %s at %s has lost the context of its request: %s",
        host,
        place,
        mend,
    )
