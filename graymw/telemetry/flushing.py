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
from typing import Any, Final, Protocol, TypeAlias

LIMIT: Final = 5.0
"""Seconds that the end of a process may be delayed while spans are being sent."""

LIMIT_WHEN_FAILING: Final = 1.5
"""The same where sending fails: one more attempt."""

_LOOK: Final = 0.05

_ENDS: Final = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")

Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Flushable(Protocol):
    """A tracer provider of the SDK, as far as this module needs it."""

    def force_flush(self, timeout_millis: int = ...) -> bool:
        """Send what has ended."""

    def shutdown(self) -> None:
        """Send what has ended and take nothing more."""


_provider: Flushable | None = None
_is_failing: Callable[[], bool] = bool
_more: list[Callable[[], object]] = []


def flush_at_exit(provider: Flushable, *, is_failing: Callable[[], bool]) -> None:
    """Send a provider's last spans when the process ends.

    Args:
        provider: The one this process exports by.
        is_failing: Tells whether its spans cannot be sent just now.
    """
    global _provider, _is_failing
    if _provider is None:
        atexit.register(_at_exit)
        _watch_sigterm()
    _provider, _is_failing = provider, is_failing


def flush_more_at_exit(work: Callable[[], object]) -> None:
    """Do some more work whenever the last spans would be sent; once, however often it is asked for.

    Args:
        work: Writes or sends what waits, within seconds.
    """
    if work not in _more:
        _more.append(work)
        atexit.register(_within_limit, work)
        _watch_sigterm()


def flush_after_lifespan(send: Send) -> Send:
    """``send`` of an ASGI lifespan that sends the last spans before the server hears that all is shut down."""
    if _provider is None and not _more:
        return send

    async def flushing(message: Message) -> None:
        if message["type"] in _ENDS:
            flush()
        await send(message)

    return flushing


def flush() -> None:
    """Send what has ended, within the limit."""
    if _provider is not None:
        _within_limit(_provider.force_flush)
    for work in _more:
        _within_limit(work)


def _at_exit() -> None:
    if _provider is not None:
        _within_limit(_provider.shutdown)


def _within_limit(work: Callable[[], object]) -> None:
    """Do it in another thread: it may wait for the network, or for a lock that an interrupted thread holds."""
    thread = threading.Thread(target=_contained, args=(work,), name="graymw-flush", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter starts no more threads
        _contained(work)
        return
    began = time.monotonic()
    while thread.is_alive() and time.monotonic() - began < (LIMIT_WHEN_FAILING if _is_failing() else LIMIT):
        thread.join(_LOOK)


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
