"""What is done when a server is told to end, before the server itself hears of it.

A server that hears SIGTERM closes its socket at once, while callers still choose it. So it is handed the signal a
moment after the instance has left the registry, and serves until then. A second signal goes straight to the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from graymw.runtime import counters
from graymw.runtime.native_thread import NativeThread, original

log = logging.getLogger("graymw.registry")

SETTLE_SECONDS: Final = 0.5
"""How long a server goes on after the instance has left: callers hear of it by a push of the registry."""

_works: Final[list[Callable[[], bool]]] = []


def first_on_sigterm(work: Callable[[], bool]) -> None:
    """Have something done first; once, however often it is asked for.

    Args:
        work: Returns, within seconds, whether callers have to hear of what it did.
    """
    if work not in _works:
        _works.append(work)
    arm()


def arm() -> None:
    """Go before the server's own handler, where it is there already; servers install theirs when they start."""
    if not _works or threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler) and getattr(handler, "__module__", "") not in (__name__, "asyncio.unix_events", "signal"):
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, _First(handler))


class _First:
    """In the place of a server's handler."""

    def __init__(self, servers: Callable[[int, FrameType | None], Any]) -> None:
        self.__module__ = __name__
        self._servers = servers

    def __call__(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, self._servers)
        try:
            NativeThread(lambda: _then_hand_on(number, os.getpid()), "graymw-leave").start()
        except RuntimeError:  # no more threads
            self._servers(number, frame)


def _then_hand_on(number: int, pid: int) -> None:
    try:
        if any([work() for work in _works]):  # noqa: C419 - all of them are done
            original("time", "sleep")(SETTLE_SECONDS)
    except Exception as error:  # noqa: BLE001 - the server has to end whatever happens
        counters.count("registry.error")
        log.warning("leaving before the server ends failed: %r", error)
    finally:
        if os.getpid() == pid:
            os.kill(pid, number)
