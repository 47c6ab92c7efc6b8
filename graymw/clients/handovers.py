"""Watches a process hand work over, so that work which leaves a request without its context can be told.

Threads, thread pools, tasks that are given a context, and queues to workers that are older than the request. This costs
time at each of them, so it is for tests and for looking into a process (``GRAYMW_DETECT_LOST_CONTEXT``). Whether the
context is lost shows only at a call: OpenTelemetry's threading instrumentation and ``graymw.carry`` bring it along.

What is replaced is bound before it is called, as wrappers of other instrumentations work bound only.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import concurrent.futures.thread
import contextlib
import queue
import threading
from collections.abc import Callable
from contextvars import Context
from functools import wraps
from typing import Any, Final

from graymw.clients.patching import Patches
from graymw.runtime.call_site import is_called_by_the_application
from graymw.runtime.current import REQUEST, current_carried
from graymw.runtime.lost_context import ORIGIN, Origin, origin_of_what_begins_here

_MOST_MARKED: Final = 10_000
"""Items of one queue that are remembered."""

_MARKS: Final = "_graymw_origins"

_patches: Final = Patches()
_lock: Final = threading.Lock()
_watchers = 0


def watch() -> None:
    """Begin to watch; as often as this is called, ``unwatch`` must be."""
    global _watchers  # noqa: PLW0603 - one process, one set of patches
    with _lock:
        _watchers += 1
        if _watchers > 1:
            return
        _patches.replace(threading.Thread, "start", _starting)
        _patches.replace(concurrent.futures.ThreadPoolExecutor, "submit", _submitting)
        _patches.replace(asyncio.BaseEventLoop, "create_task", _creating)
        _patches.replace(asyncio.Queue, "put_nowait", _putting)
        _patches.replace(asyncio.Queue, "get_nowait", _getting)
        _patches.replace(queue.Queue, "put", _putting)
        _patches.replace(queue.Queue, "get", _getting)
        _patches.active = True


def unwatch() -> None:
    """Undo one ``watch``."""
    global _watchers  # noqa: PLW0603
    with _lock:
        _watchers -= 1
        if _watchers == 0:
            _patches.restore()


def _starting(original: Any) -> Callable[..., None]:
    @wraps(original)
    def start(self: threading.Thread, *args: Any, **kwargs: Any) -> None:
        if _patches.active:
            with contextlib.suppress(Exception):
                _mark_thread(self)
        original.__get__(self)(*args, **kwargs)

    return start


def _mark_thread(thread: threading.Thread) -> None:
    """Not those of pools, which outlive the request and whose work is marked piece by piece; nor a library's own."""
    if getattr(thread, "_target", None) is getattr(concurrent.futures.thread, "_worker", thread):
        return
    origin = origin_of_what_begins_here("thread")
    if origin is None or not is_called_by_the_application():
        return
    run = thread.run

    def marked() -> None:
        ORIGIN.set(origin)
        thread.__dict__.pop("run", None)  # a cycle
        run()

    thread.run = marked  # type: ignore[method-assign]


def _submitting(original: Any) -> Callable[..., Any]:
    @wraps(original)
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if _patches.active:
            fn = _marked(fn, origin_of_what_begins_here("executor"))
        return original.__get__(self)(fn, *args, **kwargs)

    return submit


def _marked(function: Callable[..., Any], origin: Origin | None) -> Callable[..., Any]:
    """Resets what it finds too: the thread may have worked for a request before."""

    def marked(*args: Any, **kwargs: Any) -> Any:
        token = ORIGIN.set(origin)
        try:
            return function(*args, **kwargs)
        finally:
            ORIGIN.reset(token)

    return marked


def _creating(original: Any) -> Callable[..., Any]:
    @wraps(original)
    def create_task(self: asyncio.BaseEventLoop, coro: Any, **kwargs: Any) -> Any:
        context: Any = kwargs.get("context")
        origin = origin_of_what_begins_here("task") if _patches.active and isinstance(context, Context) else None
        if origin is None or context.get(REQUEST) is not None:
            return original.__get__(self)(coro, **kwargs)
        with contextlib.suppress(RuntimeError):  # it is entered, so it is this very context
            context.run(ORIGIN.set, origin)
        task = original.__get__(self)(coro, **kwargs)
        task.add_done_callback(_unmark, context=context)
        return task

    return create_task


def _unmark(_task: object) -> None:
    ORIGIN.set(None)


def _putting(original: Any) -> Callable[..., Any]:
    @wraps(original)
    def put(self: Any, item: Any, *args: Any, **kwargs: Any) -> Any:
        if not _patches.active:
            return original.__get__(self)(item, *args, **kwargs)
        origin = origin_of_what_begins_here("queue")
        marks: dict[int, Origin] = vars(self).setdefault(_MARKS, {})
        if origin is None or len(marks) >= _MOST_MARKED or not is_called_by_the_application():
            marks.pop(id(item), None)
        else:
            marks[id(item)] = origin
        try:
            return original.__get__(self)(item, *args, **kwargs)
        except BaseException:
            marks.pop(id(item), None)
            raise

    return put


def _getting(original: Any) -> Callable[..., Any]:
    @wraps(original)
    def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        item = original.__get__(self)(*args, **kwargs)
        if _patches.active:
            origin = vars(self).get(_MARKS, {}).pop(id(item), None)
            if current_carried() is None:
                before = ORIGIN.get()
                if origin is not None or (before is not None and before.kind == "queue"):
                    ORIGIN.set(origin)
        return item

    return get
