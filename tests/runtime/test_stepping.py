"""A coroutine runs in a context of its own, and to whoever awaits it that makes no difference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar, copy_context

import pytest

from graymw.runtime.stepping import Stepped

VALUE: ContextVar[str] = ContextVar("value", default="outside")


def test_every_step_sees_the_context_and_leaves_the_awaiting_task_alone() -> None:
    async def work() -> list[str]:
        seen = [VALUE.get()]
        VALUE.set("set inside")
        await asyncio.sleep(0)
        seen.append(VALUE.get())
        return seen

    async def run() -> None:
        context = copy_context()
        context.run(VALUE.set, "inside")
        assert await Stepped(work(), context) == ["inside", "set inside"]
        assert VALUE.get() == "outside"
        assert context[VALUE] == "set inside"

    asyncio.run(run())


def test_tasks_started_inside_inherit_the_context() -> None:
    async def child() -> str:
        return VALUE.get()

    async def work() -> str:
        return await asyncio.create_task(child())

    async def run() -> None:
        context = copy_context()
        context.run(VALUE.set, "inside")
        assert await Stepped(work(), context) == "inside"

    asyncio.run(run())


def test_errors_come_out_as_they_are() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError("here")

    async def run() -> None:
        with pytest.raises(LookupError, match="here"):
            await Stepped(work(), copy_context())

    asyncio.run(run())


def test_errors_of_what_is_awaited_can_be_handled_inside() -> None:
    async def run() -> None:
        failing = asyncio.get_running_loop().create_future()

        async def work() -> str:
            try:
                await failing
            except LookupError:
                return "handled"
            return "missed"

        asyncio.get_running_loop().call_soon(failing.set_exception, LookupError())
        assert await Stepped(work(), copy_context()) == "handled"

    asyncio.run(run())


def test_cancelling_is_seen_inside_and_timeouts_work() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(VALUE.get())
            raise

    async def inner() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out inside"
        return "never"

    async def run() -> None:
        context = copy_context()
        context.run(VALUE.set, "inside")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Stepped(work(), context), 0.01)
        assert await Stepped(inner(), context) == "timed out inside"

    asyncio.run(run())
    assert seen == ["inside"]


def test_what_is_closed_unfinished_is_closed_inside() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append(VALUE.get())

    context = copy_context()
    context.run(VALUE.set, "inside")
    loop = asyncio.new_event_loop()

    async def outer() -> None:
        await Stepped(work(), context)

    coroutine = outer()
    try:
        loop.call_soon(lambda: coroutine.send(None))
        loop.call_soon(loop.stop)
        loop.run_forever()
        coroutine.close()
    finally:
        loop.close()
    assert seen == ["inside"]


def test_generators_are_driven_step_by_step() -> None:
    async def numbers() -> AsyncIterator[tuple[int, str]]:
        try:
            for number in range(3):
                await asyncio.sleep(0)
                yield number, VALUE.get()
        finally:
            VALUE.set("closed")

    async def run() -> None:
        context = copy_context()
        context.run(VALUE.set, "inside")
        answers = numbers()
        assert await Stepped(answers.__anext__(), context) == (0, "inside")
        assert VALUE.get() == "outside"
        await Stepped(answers.aclose(), context)  # type: ignore[attr-defined]
        assert context[VALUE] == "closed"
        with pytest.raises(StopAsyncIteration):
            await Stepped(answers.__anext__(), context)

    asyncio.run(run())
