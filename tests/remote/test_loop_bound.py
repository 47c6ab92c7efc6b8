from __future__ import annotations

import asyncio

from graymw.remote.loop_bound import LoopBound


def test_each_loop_has_its_own_and_keeps_it() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    bound = LoopBound(make)

    async def twice() -> tuple[object, object]:
        return bound.get(), bound.get()

    first, second = asyncio.run(twice()), asyncio.run(twice())
    assert first[0] is first[1]
    assert second[0] is second[1]
    assert first[0] is not second[0]
    assert len(made) == 2


def test_what_is_taken_is_made_anew_when_asked_for_again() -> None:
    bound = LoopBound(object)

    async def run() -> None:
        assert bound.take() is None
        held = bound.get()
        assert bound.take() is held
        assert bound.take() is None
        assert bound.get() is not held

    asyncio.run(run())


def test_another_loops_is_not_given_away() -> None:
    bound = LoopBound(object)

    async def get() -> object:
        return bound.get()

    async def take() -> object | None:
        return bound.take()

    asyncio.run(get())
    assert asyncio.run(take()) is None
