"""What every rule source does, whatever is behind it. A new source is one more module of ``rule_backends``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from rule_backends import RuleBackend, variants
from waiting import eventually

from graymw.core.document import parse
from graymw.core.model import RuleDocument
from graymw.errors import SourceError
from graymw.runtime import counters
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.last_good import LastGood
from graymw.runtime.ports import Fetched, RuleSource
from graymw.runtime.state_dir import open_state_dir
from graymw.runtime.watching import WatchThread

VARIANTS = variants()
RETURN_SECONDS = 30.0
"""How long a source may take to notice that its server is back: waits between attempts grow."""


@pytest.fixture(params=VARIANTS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RuleBackend]:
    with VARIANTS[request.param](tmp_path) as opened:
        law = request.function.__name__
        if law in opened.lacks:
            pytest.skip(opened.lacks[law])
        yield opened


@pytest.fixture
def thread() -> Iterator[WatchThread]:
    thread = WatchThread()
    yield thread
    thread.stop()


def text(fetched: Fetched) -> str | None:
    return fetched.text.decode() if isinstance(fetched.text, bytes) else fetched.text


class Watched:
    """What a watch yields, with a deadline on each wait; closed at the end of ``finish``."""

    opened: ClassVar[list[AsyncIterator[Fetched]]] = []

    def __init__(self, backend: RuleBackend, source: RuleSource | None = None) -> None:
        self._seconds = backend.seconds
        self._changes = (source or backend.source()).watch()
        self.opened.append(self._changes)

    async def next(self) -> Fetched:
        return await asyncio.wait_for(anext(self._changes), self._seconds)

    async def until(self, wanted: str | None) -> None:
        """Changes may be seen one by one or only the last of them."""
        async with asyncio.timeout(self._seconds):
            while text(await anext(self._changes)) != wanted:
                pass


def finish(steps: Coroutine[object, object, None]) -> None:
    """Run a test's steps; watches end before their loop does, as they do in a process."""

    async def run() -> None:
        try:
            await steps
        finally:
            while Watched.opened:
                changes = Watched.opened.pop()
                if isinstance(changes, AsyncGenerator):
                    await changes.aclose()

    asyncio.run(run())


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
        assert text(await Watched(backend).next()) == "a"

    finish(run())


def test_a_watch_begins_where_nothing_is_there_and_sees_it_come(backend: RuleBackend) -> None:
    async def run() -> None:
        watched = Watched(backend)
        assert (await watched.next()).text is None
        backend.write("a")
        assert text(await watched.next()) == "a"

    finish(run())


def test_a_watch_sees_every_kind_of_change(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        watched = Watched(backend)
        await watched.next()
        backend.write("b")
        assert text(await watched.next()) == "b"
        backend.delete()
        assert (await watched.next()).text is None
        backend.write("b")
        assert text(await watched.next()) == "b"

    finish(run())


def test_the_last_of_many_changes_is_never_lost(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("start")
        watched = Watched(backend)
        await watched.next()
        for round_ in range(5):
            for number in range(10):
                backend.write(f"{round_} {number}")
            await watched.until(f"{round_} 9")

    finish(run())


def test_a_change_between_two_watches_is_not_lost(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        source = backend.source()
        await Watched(backend, source).next()
        backend.write("b")
        assert text(await Watched(backend, source).next()) == "b"

    finish(run())


def test_two_watches_of_one_source_do_not_disturb_each_other(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        source = backend.source()
        first, second = Watched(backend, source), Watched(backend, source)
        await first.next()
        await second.next()
        backend.write("b")
        assert text(await first.next()) == text(await second.next()) == "b"

    finish(run())


def test_a_watch_can_be_cancelled_while_it_waits(backend: RuleBackend) -> None:
    async def run() -> None:
        backend.write("a")
        changes = backend.source().watch()
        await anext(changes)
        task = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, backend.seconds)

    finish(run())


def test_a_document_of_a_mebibyte_comes_whole(backend: RuleBackend) -> None:
    document = "# é\n" * (1024 * 1024 // 5)
    assert len(document.encode()) > 1_000_000

    async def run() -> None:
        backend.write("small")
        watched = Watched(backend)
        await watched.next()
        backend.write(document)
        assert text(await watched.next()) == document
        assert text(await backend.source().load()) == document

    finish(run())


def document(share: int) -> str:
    return f"schema: 1\nreleases: {{r: {{stable: v1, rules: [{{split: {{v2: {share}%}}}}]}}}}\n"


class Kept:
    """A process that keeps the document in force."""

    def __init__(self, backend: RuleBackend, thread: WatchThread, source: RuleSource | None = None) -> None:
        self._seconds = backend.seconds
        self.taken: list[RuleDocument] = []
        source = source or backend.source()
        last_good = LastGood(open_state_dir(""), service="edge", source=source.name)
        self.keeper = DocumentKeeper(source, on_change=self.taken.append, last_good=last_good, thread=thread)
        self.keeper.load_now()
        self.keeper.watch()

    def has(self, share: int, seconds: float | None = None) -> None:
        wanted = parse(document(share)).revision
        try:
            eventually(lambda: self.keeper.current.revision == wanted, seconds or self._seconds)
        except AssertionError as error:
            error.add_note(f"in force: {self.keeper.current}; last error: {self.keeper.last_error!r}")
            raise

    def tells(self, condition: Callable[[str], bool] = bool, seconds: float = 0) -> None:
        eventually(lambda: condition(self.keeper.last_error), seconds or self._seconds)


def test_a_bad_document_is_refused_and_the_next_good_one_taken(backend: RuleBackend, thread: WatchThread) -> None:
    backend.write(document(10))
    kept = Kept(backend, thread)
    kept.has(10)
    backend.write("schema: 1\nreleases: {r: {stabel: v1}}\n")
    kept.tells(lambda told: "stabel" in told)
    kept.has(10)
    backend.write(document(20))
    kept.has(20)
    assert kept.keeper.last_error == ""


def test_a_document_that_is_taken_out_stays_in_force_and_is_told(backend: RuleBackend, thread: WatchThread) -> None:
    backend.write(document(10))
    kept = Kept(backend, thread)
    kept.has(10)
    backend.delete()
    kept.tells(lambda told: "holds no rule document" in told)
    kept.has(10)
    backend.write(document(10))
    kept.tells(lambda told: not told)


def test_a_restart_of_the_server_loses_nothing(backend: RuleBackend, thread: WatchThread) -> None:
    backend.write(document(10))
    kept = Kept(backend, thread)
    kept.has(10)
    backend.stop()
    backend.start()
    backend.write(document(20))
    kept.has(20, RETURN_SECONDS)


def test_while_the_server_is_gone_the_last_document_stays(backend: RuleBackend, thread: WatchThread) -> None:
    backend.write(document(10))
    kept = Kept(backend, thread)
    kept.has(10)
    backend.stop()
    kept.tells(seconds=RETURN_SECONDS)
    kept.has(10)
    assert counters.snapshot()["source.error"] >= 1
    backend.start()
    kept.tells(lambda told: not told, RETURN_SECONDS)
    backend.write(document(20))
    kept.has(20, RETURN_SECONDS)


def test_what_is_written_while_nobody_could_watch_is_seen_afterwards(backend: RuleBackend, thread: WatchThread) -> None:
    """The watch was lost; the source must not go on as if nothing had happened."""
    backend.write(document(10))
    kept = Kept(backend, thread)
    kept.has(10)
    assert thread.stop()
    backend.stop()
    backend.start()
    backend.write(document(20))
    thread.start()
    kept.has(20, RETURN_SECONDS)


def test_a_process_starts_with_the_copy_on_disk_while_the_server_is_down(
    backend: RuleBackend, thread: WatchThread, caplog: pytest.LogCaptureFixture
) -> None:
    backend.write(document(10))
    Kept(backend, thread).has(10)
    assert thread.stop()
    backend.stop()
    fresh = WatchThread()
    try:
        kept = Kept(backend, fresh)
        assert kept.keeper.current.from_disk  # at once: nothing waits for the server
        kept.has(10)
        kept.tells(seconds=RETURN_SECONDS)
        eventually(lambda: "the last good rules stay" in caplog.text)
        backend.start()
        backend.write(document(20))
        kept.has(20, RETURN_SECONDS)
        assert not kept.keeper.current.from_disk
    finally:
        fresh.stop()


def test_a_server_that_is_not_there_is_an_error_in_words(backend: RuleBackend) -> None:
    source = backend.source()
    backend.stop()
    with pytest.raises(SourceError, match="check the address, and that it runs"):
        asyncio.run(source.load())


def test_a_wrong_login_is_told_and_retried(
    backend: RuleBackend, thread: WatchThread, caplog: pytest.LogCaptureFixture
) -> None:
    source = backend.source_with_wrong_login()
    if source is None:
        pytest.skip("this one runs without a log-in")
    backend.write(document(10))
    kept = Kept(backend, thread, source)
    kept.tells(lambda told: "GRAYMW_RULES_" in told)
    assert not kept.taken
    eventually(lambda: counters.snapshot()["source.error"] >= 2, RETURN_SECONDS)
    eventually(lambda: caplog.text.count("no rules are in force yet") == 1)
    assert "wr0ng" not in caplog.text + kept.keeper.last_error + source.name
