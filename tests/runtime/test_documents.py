from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from waiting import eventually

from graymw.core.model import RuleDocument
from graymw.errors import Problem, RulesError, SourceError
from graymw.runtime import counters
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.last_good import LastGood
from graymw.runtime.ports import Fetched, LocalRuleSource
from graymw.runtime.state_dir import StateDir
from graymw.runtime.watching import WatchThread

Content = str | None | Exception


def parse(text: str | bytes, /, *, format: str | None, origin: str) -> RuleDocument:  # noqa: A002
    """A document whose revision is its text; ``bad…`` is none."""
    told = text.decode() if isinstance(text, bytes) else text
    if told.startswith("bad"):
        raise RulesError([Problem("releases", told, "mend it")], origin=origin)
    if told == "fault":
        raise ZeroDivisionError("of the parser")
    return RuleDocument(revision=told)


class RemoteSource:
    """A source in memory that can be told what to hold, and when to be out of reach."""

    name = "memory://rules"

    def __init__(self, content: Content = None) -> None:
        self.content = content
        self.watchers = 0
        self._changed: list[Callable[[], None]] = []

    def put(self, content: Content) -> None:
        self.content = content
        for changed in self._changed:
            changed()

    def fetched(self) -> Fetched:
        if isinstance(self.content, Exception):
            raise self.content
        return Fetched(self.content, self.name)

    async def load(self) -> Fetched:
        return self.fetched()

    async def watch(self) -> AsyncIterator[Fetched]:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        self._changed.append(lambda: loop.is_closed() or loop.call_soon_threadsafe(event.set))
        self.watchers += 1
        while True:
            yield self.fetched()
            await event.wait()
            event.clear()


class LocalSource(RemoteSource):
    def read_now(self) -> Fetched:
        return self.fetched()


class Process:
    """A keeper and what it put in force."""

    def __init__(self, source: RemoteSource | None, state: StateDir, thread: WatchThread) -> None:
        self.in_force: list[str] = []
        self.refuse: set[str] = set()
        self.now = 1000.0
        self.keeper = DocumentKeeper(
            source,
            on_change=self.adopt,
            parse=parse,
            last_good=LastGood(state, service="orders", source=RemoteSource.name),
            clock=lambda: self.now,
            thread=thread,
        )

    def adopt(self, document: RuleDocument) -> None:
        if document.revision in self.refuse:
            raise RulesError([Problem("when", "does not compile", "mend it")])
        self.in_force.append(document.revision)

    @property
    def revision(self) -> str:
        return self.keeper.current.revision


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state")
    state.make()
    return state


@pytest.fixture
def start(state: StateDir) -> Iterator[Callable[[RemoteSource | None], Process]]:
    threads: list[WatchThread] = []

    def start(source: RemoteSource | None) -> Process:
        threads.append(WatchThread())
        process = Process(source, state, threads[-1])
        process.keeper.load_now()
        return process

    yield start
    for thread in threads:
        assert thread.stop(5.0)


Start = Callable[[RemoteSource | None], Process]


def test_the_two_kinds_of_source_are_told_apart() -> None:
    assert isinstance(LocalSource(), LocalRuleSource)
    assert not isinstance(RemoteSource(), LocalRuleSource)


def test_without_a_source_there_are_no_rules_and_nothing_runs(start: Start) -> None:
    process = start(None)
    process.keeper.watch()
    assert process.keeper.current.document == RuleDocument()
    assert process.keeper.current.age(5.0) is None
    assert not process.keeper._thread.alive


def test_a_local_document_is_in_force_when_the_application_starts(start: Start) -> None:
    process = start(LocalSource("a"))
    assert process.in_force == ["a"]
    current = process.keeper.current
    assert (current.revision, current.origin, current.loaded_at, current.from_disk) == (
        "a",
        "memory://rules",
        1000.0,
        False,
    )
    assert current.age(1001.5) == 1.5


def test_a_remote_source_is_not_waited_for(start: Start) -> None:
    process = start(RemoteSource("a"))
    assert process.revision == ""
    process.keeper.watch()
    eventually(lambda: process.revision == "a")


def test_changes_come_into_force_one_by_one(start: Start) -> None:
    source = LocalSource("a")
    process = start(source)
    process.keeper.watch()
    for revision in ("b", "c"):
        source.put(revision)
        eventually(lambda revision=revision: process.revision == revision)
    assert process.in_force == ["a", "b", "c"]


def test_the_same_content_is_not_put_in_force_again(start: Start) -> None:
    source = LocalSource("a")
    process = start(source)
    process.keeper.watch()
    eventually(lambda: source.watchers)
    source.put("a")
    source.put("b")
    eventually(lambda: process.revision == "b")
    assert process.in_force == ["a", "b"]


def test_a_bad_document_is_refused_and_the_last_good_one_stays(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    source = LocalSource("a")
    process = start(source)
    process.keeper.watch()
    source.put("bad")
    eventually(lambda: process.keeper.last_error)
    assert process.revision == "a"
    assert process.in_force == ["a"]
    assert "mend it" in process.keeper.last_error
    assert counters.snapshot()["rules.refused"] == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    source.put("b")
    eventually(lambda: process.revision == "b")
    assert process.keeper.last_error == ""


def test_a_problem_that_comes_back_is_told_again(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    source = LocalSource("a")
    process = start(source)
    process.keeper.watch()
    for content in ("bad", "a", "bad"):
        source.put(content)
        eventually(lambda content=content: bool(process.keeper.last_error) == (content == "bad"))
    assert len(caplog.records) == 2


def test_a_document_that_cannot_be_put_in_force_is_refused_too(start: Start) -> None:
    source = LocalSource("a")
    process = start(source)
    process.refuse.add("b")
    process.keeper.watch()
    source.put("b")
    eventually(lambda: "does not compile" in process.keeper.last_error)
    assert process.revision == "a"


def test_a_fault_of_ours_does_not_end_the_watching(start: Start) -> None:
    source = LocalSource("a")
    process = start(source)
    process.keeper.watch()
    source.put("fault")
    eventually(lambda: "ZeroDivisionError" in process.keeper.last_error)
    source.put("b")
    eventually(lambda: process.revision == "b")


@pytest.mark.parametrize("content", [None, "bad", SourceError("down"), OSError("worse"), "fault"])
def test_the_application_starts_whatever_the_source_does(
    start: Start, caplog: pytest.LogCaptureFixture, content: Content
) -> None:
    process = start(LocalSource(content))
    assert process.revision == ""
    assert process.keeper.last_error
    (told,) = caplog.messages
    assert told.startswith("no rules are in force yet: ")


def test_a_document_that_goes_away_stays_in_force(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    source = LocalSource("a")
    process = start(source)
    process.keeper.watch()
    source.put(None)
    eventually(lambda: "holds no rule document" in process.keeper.last_error)
    assert process.revision == "a"
    (told,) = caplog.messages
    assert told.startswith("the last good rules stay (revision a): ")
    assert told.endswith("; mend GRAYMW_RULES, or put one there")
    source.put("a")
    eventually(lambda: not process.keeper.last_error)
    assert process.in_force == ["a"]


def test_a_source_out_of_reach_is_tried_again_and_told_once(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    source = LocalSource("a")
    process = start(source)
    source.content = SourceError("connection refused")
    process.keeper.watch()
    eventually(lambda: source.watchers >= 3)
    assert process.revision == "a"
    assert process.keeper.last_error == "connection refused"
    assert len(caplog.records) == 1
    source.content = "b"
    eventually(lambda: process.revision == "b")
    assert process.keeper.last_error == ""


def test_the_same_content_after_an_outage_ends_the_trouble(start: Start) -> None:
    source = LocalSource("a")
    process = start(source)
    source.content = SourceError("down")
    process.keeper.watch()
    eventually(lambda: process.keeper.last_error == "down")
    source.content = "a"
    eventually(lambda: process.keeper.last_error == "")
    assert process.in_force == ["a"]


@pytest.mark.parametrize("content", ["bad", SourceError("down")])
def test_a_process_starts_from_the_copy_on_disk(
    start: Start, caplog: pytest.LogCaptureFixture, content: Content
) -> None:
    start(LocalSource("a"))
    source = LocalSource(content)
    process = start(source)
    assert process.in_force == ["a"]
    current = process.keeper.current
    assert current.from_disk
    assert current.origin == "memory://rules (copy on disk)"
    assert current.loaded_at == 1000.0
    assert process.keeper.last_error
    assert counters.snapshot()["rules.from_disk"] == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    process.keeper.watch()
    source.put("b")
    eventually(lambda: process.revision == "b")
    assert not process.keeper.current.from_disk


def test_a_process_starts_from_the_copy_while_the_config_centre_is_down(start: Start, state: StateDir) -> None:
    start(RemoteSource("a")).keeper.watch()
    eventually(state.names)
    source = RemoteSource(SourceError("down"))
    process = start(source)
    assert process.revision == "a"
    process.keeper.watch()
    eventually(lambda: process.keeper.last_error == "down")
    assert process.revision == "a"
    source.content = "a"
    eventually(lambda: not process.keeper.current.from_disk)
    assert process.keeper.last_error == ""


def test_a_source_that_holds_nothing_is_believed_at_the_start(start: Start) -> None:
    start(LocalSource("a"))
    assert start(LocalSource(None)).revision == ""


def test_a_bad_document_is_never_kept(start: Start, state: StateDir) -> None:
    start(LocalSource("bad"))
    assert state.names() == []


def test_a_copy_that_is_no_longer_good_is_not_used(start: Start) -> None:
    start(LocalSource("a"))
    source = LocalSource(SourceError("down"))
    process = start(None)
    process.keeper.source = source
    process.refuse.add("a")
    assert process.keeper.load_now().revision == ""


def test_after_stop_nothing_changes_any_more(start: Start) -> None:
    source = LocalSource("a")
    process = start(source)
    process.keeper.watch()
    process.keeper.watch()
    eventually(lambda: source.watchers == 1)
    process.keeper.stop()
    process.keeper.stop()
    eventually(lambda: source.watchers == 1)
    source.put("b")
    other = start(source)
    other.keeper.watch()
    eventually(lambda: source.watchers == 2)
    assert process.revision == "a"


def test_a_reader_sees_one_document_at_any_moment(start: Start) -> None:
    source = LocalSource("0")
    process = start(source)
    process.keeper.watch()
    eventually(lambda: source.watchers)
    torn: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            current = process.keeper.current
            if current.revision != current.document.revision:
                torn.append(current.revision)

    reader = threading.Thread(target=read)
    reader.start()
    for revision in range(1, 200):
        source.put(str(revision))
    eventually(lambda: process.revision == "199")
    done.set()
    reader.join()
    assert not torn


def test_a_process_forked_while_its_parent_was_at_work_takes_the_change() -> None:
    command = [sys.executable, "-W", "error", "-c", FORKED]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


FORKED = """
import asyncio, os, threading, time
from graymw.core.model import RuleDocument
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.ports import Fetched

parent, began, go_on = os.getpid(), threading.Event(), threading.Event()

def parse(text, *, format, origin):
    if os.getpid() == parent:
        began.set()
        go_on.wait()
    return RuleDocument(revision=text)

class Source:
    name = "memory://rules"
    async def load(self):
        return Fetched("new", self.name)
    async def watch(self):
        yield Fetched("new", self.name)
        await asyncio.Event().wait()

keeper = DocumentKeeper(Source(), on_change=lambda document: None, parse=parse)
keeper.watch()
assert began.wait(10)
child = os.fork()
if child == 0:
    deadline = time.monotonic() + 10
    while keeper.current.revision != "new" and time.monotonic() < deadline:
        time.sleep(0.01)
    os._exit(keeper.current.revision != "new")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
go_on.set()
"""
