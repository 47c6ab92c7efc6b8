"""Threads of the operating system, also where gevent has put greenlets in the place of threads.

Where gevent has patched the standard library, ``threading.Thread`` is a greenlet of the very thread that serves
requests: an event loop in it would be the application's running loop. gevent keeps what it replaced; that is used here.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.thread import ThreadPoolExecutor  # before any fork: its import registers fork hooks
from typing import Any, Final, TypeVar

from graymw.runtime import counters

log = logging.getLogger("graymw.watch")

T = TypeVar("T")

_BEFORE: Final = "GeventWillPatchAllEvent"
_AFTER: Final = "GeventDidPatchAllEvent"


def is_patched() -> bool:
    """Whether gevent has replaced threads by greenlets in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def original(module: str, name: str) -> Any:
    """An attribute of a module of the standard library as it was before gevent replaced it, if it has."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey is not None else getattr(sys.modules[module], name)


class NativeThread:
    """A daemon thread of the operating system.

    Args:
        target: What it does.
        name: For people.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self._target = target
        self._ended = original("_thread", "allocate_lock")()
        self._ended.acquire()
        self._ident = 0
        self._thread = None if is_patched() else threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive() if self._thread is not None else bool(self._ended.locked())

    @property
    def is_current(self) -> bool:
        """Whether this is called in it."""
        return bool(self._ident == original("_thread", "get_ident")())

    def start(self) -> None:
        """Run it.

        Raises:
            RuntimeError: There are no more threads.
        """
        if self._thread is not None:
            self._thread.start()
        else:
            original("_thread", "start_new_thread")(self._run, ())

    def join(self, seconds: float) -> bool:
        """Wait until it ends; whether it has."""
        if self._thread is not None:
            self._thread.join(seconds)
        elif self._ended.acquire(timeout=seconds):
            self._ended.release()
        return not self.alive

    def _run(self) -> None:
        self._ident = original("_thread", "get_ident")()
        try:
            self._target()
        finally:
            self._ended.release()


def native_loop() -> asyncio.AbstractEventLoop:
    """An event loop that waits in the operating system rather than in gevent's hub."""
    if not is_patched():
        return asyncio.SelectorEventLoop()
    try:
        selector = original("selectors", "EpollSelector")()
    except AttributeError:
        selector = selectors.DefaultSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.set_default_executor(_InPlace())
    return loop


class _InPlace(ThreadPoolExecutor):
    """Does at once what it is given: its threads would be greenlets that nobody switches to."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the result
            future.set_exception(error)
        return future


def around_patching(before: Callable[[], object], after: Callable[[], object]) -> None:
    """Have something done before and after gevent patches the standard library, where it is loaded and has not yet.

    gunicorn's gevent workers patch after they were forked from a process that runs the application already.
    """
    if "gevent.monkey" not in sys.modules or is_patched():
        return
    from gevent import events  # noqa: PLC0415 - the application has loaded gevent

    def told(event: object) -> None:
        work = {_BEFORE: before, _AFTER: after}.get(type(event).__name__)
        if work is not None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the application's patching must not fail for us
                counters.count("watch.failed")
                counters.once(log, "watch:patching", logging.ERROR, "gevent's patching was not followed: %r", error)

    if not any(getattr(known, "__module__", "") == __name__ for known in events.subscribers):
        events.subscribers.append(told)
