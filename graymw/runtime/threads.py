"""Work handed to other threads, with the context of who handed it over.

``asyncio`` tasks and ``asyncio.to_thread`` carry it by themselves. Threads and executors do not; OpenTelemetry's
threading instrumentation makes them, and so does what stands here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """A function that runs in the context of this moment, wherever and however often it is called.

    >>> loop.run_in_executor(None, graymw.carry(work), order)
    """
    context = copy_context()

    @wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        # A context can be entered once at a time; a copy is free.
        return context.copy().run(function, *args, **kwargs)

    return carried


class GrayThread(threading.Thread):
    """A thread that runs in the context of whoever started it."""

    def start(self) -> None:
        """Start the thread; see ``threading.Thread.start``."""
        self.run = carry(self.run)  # type: ignore[method-assign]
        super().start()


class GrayThreadPoolExecutor(ThreadPoolExecutor):
    """A thread pool whose work runs in the context of whoever submitted it."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Hand over one call; see ``concurrent.futures.Executor.submit``."""
        return super().submit(carry(fn), *args, **kwargs)
