"""What every rule source does, whatever is behind it. A new source is one more module of ``rule_backends``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from rule_backends import RuleBackend, variants

from graymw.runtime.ports import Fetched, RuleSource

DEADLINE = 5.0
VARIANTS = variants()


@pytest.fixture(params=VARIANTS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RuleBackend]:
    with VARIANTS[request.param](tmp_path) as opened:
        yield opened


def text(fetched: Fetched) -> str | None:
    return fetched.text.decode() if isinstance(fetched.text, bytes) else fetched.text


class Watched:
    """What a watch yields, with a deadline on each wait."""

    def __init__(self, source: RuleSource) -> None:
        self._changes = source.watch()

    async def next(self) -> Fetched:
        return await asyncio.wait_for(anext(self._changes), DEADLINE)

    async def until(self, wanted: str | None) -> None:
        """Changes may be seen one by one or only the last of them."""
        async with asyncio.timeout(DEADLINE):
            while text(await anext(self._changes)) != wanted:
                pass


def test_it_loads_what_was_written(backend: RuleBackend) -> None:
    backend.write("a: é")
    fetched = asyncio.run(backend.source().load())
    assert text(fetched) == "a: é"
    assert fetched.origin == backend.source().name


def test_it_says_where_there_is_no_document(backend: RuleBackend) -> None:
    assert asyncio.run(backend.source().load()).text is None


def test_it_marks_equal_content_alike_and_other_content_otherwise(backend: RuleBackend) -> None:
    marks = []
    for content in ("a", "b", "b"):
        backend.write(content)
        marks.append(asyncio.run(backend.source().load()).version)
    assert marks[0] != marks[1]
    assert all(marks)


def test_a_watch_begins_with_what_is_there(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        assert text(await Watched(backend.source()).next()) == "a"

    asyncio.run(run())


def test_a_watch_begins_where_nothing_is_there_and_sees_it_come(backend: RuleBackend) -> None:
    async def run() -> None:
        watched = Watched(backend.source())
        assert (await watched.next()).text is None
        backend.write("a")
        assert text(await watched.next()) == "a"

    asyncio.run(run())


def test_a_watch_sees_every_kind_of_change(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        watched = Watched(backend.source())
        await watched.next()
        backend.write("b")
        assert text(await watched.next()) == "b"
        backend.delete()
        assert (await watched.next()).text is None
        backend.write("b")
        assert text(await watched.next()) == "b"

    asyncio.run(run())


def test_the_last_of_many_changes_is_never_lost(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("start")
        watched = Watched(backend.source())
        await watched.next()
        for round_ in range(5):
            for number in range(10):
                backend.write(f"{round_} {number}")
            await watched.until(f"{round_} 9")

    asyncio.run(run())


def test_a_change_between_two_watches_is_not_lost(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        source = backend.source()
        await Watched(source).next()
        backend.write("b")
        assert text(await Watched(source).next()) == "b"

    asyncio.run(run())


def test_two_watches_of_one_source_do_not_disturb_each_other(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        source = backend.source()
        first, second = Watched(source), Watched(source)
        await first.next()
        await second.next()
        backend.write("b")
        assert text(await first.next()) == text(await second.next()) == "b"

    asyncio.run(run())


def test_a_watch_can_be_cancelled_while_it_waits(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        changes = backend.source().watch()
        await anext(changes)
        task = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE)

    asyncio.run(run())
