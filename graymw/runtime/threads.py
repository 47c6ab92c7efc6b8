"""Work handed to other threads and tasks, with the context of who handed it over.

New ``asyncio`` tasks and ``asyncio.to_thread`` carry it by themselves. Threads, executors and tasks that were there
before do not; OpenTelemetry's threading instrumentation makes threads and executors, and so does what stands here.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from graymw.runtime.stepping import Stepped

P = ParamSpec("P")
T = TypeVar("T")


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """A function that runs in the context of this moment, wherever and however often it is called.

    Coroutine functions and generator functions of both kinds stay what they are, and run in it step by step, whoever
    awaits or iterates them.

    >>> loop.run_in_executor(None, graymw.carry(work), order)
    >>> queue.put_nowait(graymw.carry(partial(work, order)))  # the worker: await (await queue.get())()
    """
    context = copy_context()
    if inspect.iscoroutinefunction(function):
        return _awaited(function, context)
    if inspect.isasyncgenfunction(function):
        return _streamed(function, context)
    if inspect.isgeneratorfunction(function):
        return _generated(function, context)

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        # A context can be entered once at a time; a copy is free.
        return context.copy().run(function, *args, **kwargs)

    return _named(carried, function)


def _named(carried: Callable[P, T], function: Callable[P, T]) -> Callable[P, T]:
    return wraps(function)(carried)


def _awaited(function: Callable[P, Any], context: Context) -> Callable[P, Any]:
    async def carried(*args: P.args, **kwargs: P.kwargs) -> Any:
        own = context.copy()
        return await Stepped(own.run(function, *args, **kwargs), own)

    return _named(carried, function)


def _streamed(function: Callable[P, Any], context: Context) -> Callable[P, Any]:
    async def carried(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]:
        own = context.copy()
        items = own.run(function, *args, **kwargs)
        try:
            while True:
                try:
                    item = await Stepped(items.__anext__(), own)
                except StopAsyncIteration:
                    return
                yield item
        finally:
            await Stepped(items.aclose(), own)

    return _named(carried, function)


def _generated(function: Callable[P, Any], context: Context) -> Callable[P, Any]:
    def carried(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        own = context.copy()
        items = own.run(function, *args, **kwargs)
        sent = None
        try:
            while True:
                try:
                    item = own.run(items.send, sent)
                except StopIteration as end:
                    return end.value
                sent = yield item
        finally:
            own.run(items.close)

    return cast("Callable[P, Any]", _named(carried, function))


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
