"""What every rule store does, whatever is behind it. A store belongs to a module of ``rule_backends``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from rule_backends import RuleBackend, variants

from graymw.errors import ConflictError, SourceError
from graymw.runtime.ports import Change, Fetched, RuleStore

VARIANTS = variants()
WRITERS = 50


class Stored:
    """A backend whose store is opened anew for each use, as each command line does."""

    def __init__(self, backend: RuleBackend) -> None:
        self.backend = backend

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RuleStore]:
        store = self.backend.store()
        assert store is not None
        try:
            yield store
        finally:
            await store.close()

    async def read(self) -> Fetched:
        async with self.opened() as store:
            return await store.read()

    async def write(self, change: Change, expected: str) -> None:
        async with self.opened() as store:
            await store.write(change, expected=expected)

    async def history(self, limit: int = 100) -> list[Change]:
        async with self.opened() as store:
            return await store.history(limit)


@pytest.fixture(params=VARIANTS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    with VARIANTS[request.param](tmp_path) as opened:
        law = request.function.__name__
        if law in opened.lacks:
            pytest.skip(opened.lacks[law])
        if opened.store() is None:
            pytest.skip("graymw does not write this one")
        yield Stored(opened)


def document(number: int) -> str:
    return f"# é {number}\nschema: 1\nreleases:\n  r{number}:\n    stable: v1\n"


def change(number: int, **more: str) -> Change:
    told = {"who": "ann@example.org", "what": f"publish {number}", "why": "a reason; with é"} | more
    return Change(document(number), f"{number:08x}", 1_700_000_000.0 + number, **told)


def text(fetched: Fetched) -> str | None:
    return fetched.text.decode() if isinstance(fetched.text, bytes) else fetched.text


def test_nothing_is_read_where_nothing_was_written(stored: Stored) -> None:
    fetched = asyncio.run(stored.read())
    assert (fetched.text, fetched.version) == (None, "")
    assert asyncio.run(stored.history()) == []


def test_what_was_written_is_read_and_every_version_is_marked(stored: Stored) -> None:
    async def run() -> None:
        await stored.write(change(1), "")
        first = await stored.read()
        await stored.write(change(2), first.version)
        second = await stored.read()
        assert (text(first), text(second)) == (document(1), document(2))
        assert len({"", first.version, second.version}) == 3

    asyncio.run(run())


def test_what_somebody_else_wrote_is_read_and_can_be_replaced(stored: Stored) -> None:
    async def run() -> None:
        stored.backend.write(document(7))
        await stored.write(change(8), (await stored.read()).version)
        assert text(await stored.read()) == document(8)

    asyncio.run(run())


@pytest.mark.parametrize("how", ["as if nothing were there", "of an older version"])
def test_a_conflict_changes_nothing(stored: Stored, how: str) -> None:
    async def run() -> None:
        await stored.write(change(1), "")
        first = await stored.read()
        await stored.write(change(2), first.version)
        with pytest.raises(ConflictError):
            await stored.write(change(3), first.version if how == "of an older version" else "")
        assert text(await stored.read()) == document(2)
        assert [each.what for each in await stored.history()] == ["publish 2", "publish 1"]

    asyncio.run(run())


def test_a_document_that_was_taken_out_is_no_longer_what_was_read(stored: Stored) -> None:
    async def run() -> None:
        await stored.write(change(1), "")
        first = await stored.read()
        stored.backend.delete()
        with pytest.raises(ConflictError):
            await stored.write(change(2), first.version)
        await stored.write(change(3), (await stored.read()).version)
        assert text(await stored.read()) == document(3)

    asyncio.run(run())


def test_the_history_tells_who_did_what_when_and_why_newest_first(stored: Stored) -> None:
    async def run() -> None:
        for number in (1, 2, 3):
            await stored.write(change(number), (await stored.read()).version)
        assert await stored.history() == [change(3), change(2), change(1)]
        assert await stored.history(2) == [change(3), change(2)]

    asyncio.run(run())


def test_the_history_is_kept_within_bounds(stored: Stored) -> None:
    async def run() -> None:
        for number in range(1, 121):
            await stored.write(change(number), (await stored.read()).version)
        kept = await stored.history(1_000)
        assert len(kept) >= 100
        assert kept[:100] == [change(number) for number in range(120, 20, -1)]

    asyncio.run(run())


def test_fifty_writers_at_once_lose_nothing(stored: Stored) -> None:
    """Each adds its line to what it reads, and again where another was first."""

    async def add(number: int) -> None:
        while True:
            fetched = await stored.read()
            lines = (text(fetched) or "").splitlines()
            new = Change("\n".join([*lines, f"# line {number}"]) + "\n", "", 1.0 * number, "ann", f"add {number}")
            try:
                await stored.write(new, fetched.version)
            except ConflictError:
                await asyncio.sleep(0.01)
            else:
                return

    async def run() -> None:
        await asyncio.gather(*(add(number) for number in range(WRITERS)))
        wanted = {f"# line {number}" for number in range(WRITERS)}
        assert set((text(await stored.read()) or "").splitlines()) == wanted
        history = await stored.history()
        assert {each.what for each in history} == {f"add {number}" for number in range(WRITERS)}
        assert [len(each.text.splitlines()) for each in history] == list(range(WRITERS, 0, -1))

    asyncio.run(run())


def test_a_source_sees_what_was_written(stored: Stored) -> None:
    async def run() -> None:
        changes = stored.backend.source().watch()
        assert isinstance(changes, AsyncGenerator)
        async with aclosing(changes):
            assert (await asyncio.wait_for(anext(changes), stored.backend.seconds)).text is None
            await stored.write(change(1), "")
            assert text(await asyncio.wait_for(anext(changes), stored.backend.seconds)) == document(1)

    asyncio.run(run())


def test_a_store_out_of_reach_is_told(stored: Stored) -> None:
    stored.backend.stop()
    asks: list[Callable[[], object]] = [
        lambda: asyncio.run(stored.read()),
        lambda: asyncio.run(stored.write(change(1), "")),
        lambda: asyncio.run(stored.history()),
    ]
    for ask in asks:
        with pytest.raises(SourceError):
            ask()


def test_a_wrong_login_is_told_and_changes_nothing(stored: Stored) -> None:
    async def run() -> None:
        store = stored.backend.store_with_wrong_login()
        if store is None:
            pytest.skip("this one runs without a log-in")
        try:
            with pytest.raises(SourceError) as caught:
                await store.write(change(1), expected="")
            assert not isinstance(caught.value, ConflictError)
        finally:
            await store.close()
        assert (await stored.read()).text is None

    asyncio.run(run())
