"""The last spans and lines of a process: sent and written when it exits, however servers make it exit.

Servers differ. gunicorn's workers and most others end as Python ends, with ``atexit``. uvicorn lets a signal kill the
process once it has shut down, so for ASGI the end of the lifespan counts. A process nobody handles signals for dies of
SIGTERM at once. The time that all this may take is bounded, so that a collector that is down delays no shutdown.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from graymw.runtime import sigterm

LIMIT: Final = 5.0
"""Seconds that the end of a process may be delayed while they are being sent."""

LIMIT_WHEN_FAILING: Final = 1.5
"""The same where sending fails: one more attempt."""

_LOOK: Final = 0.05

_BEGINS: Final = "lifespan.startup.complete"
_ENDS: Final = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")

Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Flushable(Protocol):
    """A tracer or meter provider of the SDK, as far as this module needs it."""

    def force_flush(self, timeout_millis: int = ...) -> bool:
        """Send what has ended."""

    def shutdown(self) -> None:
        """Send what has ended and take nothing more."""


class _Last(NamedTuple):
    """What is done for one thing when the process may be ending, what when it ends, and whether it is hopeless."""

    flush: Callable[[], object]
    end: Callable[[], object]
    is_failing: Callable[[], bool]


_last: Final[dict[object, _Last]] = {}


def flush_at_exit(provider: Flushable, *, is_failing: Callable[[], bool]) -> None:
    """Send what a provider has last when the process ends.

    Args:
        provider: One this process exports by; a later one of its class takes its place.
        is_failing: Tells whether nothing can be sent just now.
    """
    _remember(type(provider), _Last(provider.force_flush, provider.shutdown, is_failing))


def flush_more_at_exit(work: Callable[[], object]) -> None:
    """Do some more work whenever the last spans would be sent; once, however often it is asked for.

    Args:
        work: Writes or sends what waits, within seconds.
    """
    _remember(work, _Last(work, work, bool))


def _remember(key: object, last: _Last) -> None:
    if not _last:
        atexit.register(_at_exit)
    _watch_sigterm()
    _last[key] = last


def forget(provider: Flushable) -> None:
    """A provider has ended before the process does."""
    last = _last.get(type(provider))
    if last is not None and last.end == provider.shutdown:
        del _last[type(provider)]


def flush_after_lifespan(send: Send) -> Send:
    """``send`` of an ASGI lifespan that sends the last spans before the server hears that all is shut down."""
    if not _last:
        return send

    async def flushing(message: Message) -> None:
        if message["type"] == _BEGINS:
            sigterm.arm()
        elif message["type"] in _ENDS:
            flush()
        await send(message)

    return flushing


def flush() -> None:
    """Send what there is, within the limit."""
    _within_limit([(last.flush, last.is_failing) for last in _last.values()])


def _at_exit() -> None:
    _within_limit([(last.end, last.is_failing) for last in _last.values()])


def _within_limit(works: list[tuple[Callable[[], object], Callable[[], bool]]]) -> None:
    """Do all in other threads: it may wait for the network, or for a lock that an interrupted thread holds."""
    waiting = [(_started(work), is_failing) for work, is_failing in works]
    began = time.monotonic()
    for thread, is_failing in waiting:
        while thread.is_alive() and time.monotonic() - began < (LIMIT_WHEN_FAILING if is_failing() else LIMIT):
            thread.join(_LOOK)


def _started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=_contained, args=(work,), name="graymw-flush", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter starts no more threads
        _contained(work)
    return thread


def _contained(work: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        work()


def _watch_sigterm() -> None:
    """Only where nobody handles SIGTERM: servers that do end the process themselves."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def _terminated(number: int, _frame: FrameType | None) -> None:
    flush()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
