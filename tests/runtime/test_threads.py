"""``carry``: the context of one moment, for functions of every kind, whoever runs them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar
from functools import partial

import pytest

from graymw.runtime.threads import GrayThread, GrayThreadPoolExecutor, carry

VALUE: ContextVar[str] = ContextVar("value", default="outside")


@pytest.fixture(autouse=True)
def inside() -> Iterator[None]:
    token = VALUE.set("inside")
    yield
    VALUE.reset(token)


def seen(suffix: str = "") -> str:
    return VALUE.get() + suffix


def test_a_function_runs_in_the_context_it_was_carried_from_however_often() -> None:
    carried = carry(seen)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(carried, ["1", "2", "3"])) == ["inside1", "inside2", "inside3"]
    assert Context().run(carried) == "inside"


def test_it_keeps_its_name() -> None:
    assert carry(seen).__name__ == "seen"
    assert carry(partial(seen, "!"))() == "inside!"


def test_what_it_sets_stays_with_it() -> None:
    def setting() -> None:
        VALUE.set("changed")

    carry(setting)()
    assert VALUE.get() == "inside"


def test_a_coroutine_function_runs_in_it_step_by_step() -> None:
    async def work(suffix: str) -> list[str]:
        first = seen(suffix)
        await asyncio.sleep(0)
        return [first, seen(suffix)]

    carried = carry(work)
    assert inspect.iscoroutinefunction(carried)
    assert Context().run(asyncio.run, carried("!")) == ["inside!", "inside!"]


def test_a_generator_function_runs_in_it_step_by_step() -> None:
    closed: list[str] = []

    def work() -> Iterator[str]:
        try:
            told = yield seen()
            yield f"{seen()} {told}"
        finally:
            closed.append(seen())

    carried = carry(work)

    def iterate() -> list[str]:
        generator = carried()
        return [next(generator), generator.send("told")]  # type: ignore[attr-defined]

    assert inspect.isgeneratorfunction(carried)
    assert Context().run(iterate) == ["inside", "inside told"]
    assert closed == ["inside"]


def test_a_generator_s_return_value_is_kept() -> None:
    def work() -> Iterator[int]:
        yield 1
        return 2

    def outer() -> Iterator[int]:
        yield (yield from carry(work)())

    assert list(outer()) == [1, 2]


def test_an_asynchronous_generator_function_runs_in_it_step_by_step() -> None:
    closed: list[str] = []

    async def work() -> AsyncIterator[str]:
        try:
            yield seen()
            await asyncio.sleep(0)
            yield seen()
        finally:
            closed.append(seen())

    carried = carry(work)

    async def iterate() -> list[str]:
        return [value async for value in carried()]

    assert Context().run(asyncio.run, iterate()) == ["inside", "inside"]
    assert closed == ["inside"]


def test_threads_and_pools_of_ours_carry() -> None:
    found: list[str] = []
    thread = GrayThread(target=lambda: found.append(seen()))
    thread.start()
    thread.join()
    with GrayThreadPoolExecutor(1) as pool:
        found.append(pool.submit(seen, "!").result())
    assert found == ["inside", "inside!"]
