"""Running a coroutine step by step in a context of its own, whatever task awaits it.

What an application attaches within a request then ends with the request, also where a generator is closed by another
task than the one that began it, and nothing of ours is current while a streamed answer waits for its reader.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar, cast

ResultT = TypeVar("ResultT")


class Stepped(Generic[ResultT]):
    """An awaitable whose every step runs in ``context``.

    Args:
        coroutine: A coroutine, or what an asynchronous generator's ``__anext__`` returns.
        context: Must not be entered by anybody else meanwhile.
    """

    __slots__ = ("_context", "_coroutine")

    def __init__(self, coroutine: Awaitable[ResultT], context: Context) -> None:
        self._coroutine = cast("Generator[Any, Any, ResultT]", coroutine)
        self._context = context

    def __await__(self) -> Generator[Any, Any, ResultT]:
        coroutine, run = self._coroutine, self._context.run
        try:
            wanted = run(coroutine.send, None)
            while True:
                try:
                    answer = yield wanted
                except GeneratorExit:
                    run(coroutine.close)
                    raise
                except BaseException as error:  # noqa: BLE001 - cancellation included: it is the coroutine's to handle
                    wanted = run(coroutine.throw, error)
                else:
                    wanted = run(coroutine.send, answer)
        except StopIteration as done:
            return cast("ResultT", done.value)
