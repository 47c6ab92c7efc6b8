from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually

from graymw.core.instances import Instance
from graymw.errors import SourceError
from graymw.runtime import counters
from graymw.runtime.forks import forks
from graymw.runtime.registration import Registration
from graymw.runtime.watching import WatchThread
from graymw.settings.schema import Settings


class Book:
    """A registry that notes what is asked of it; ``down`` makes it fail, ``forgets`` makes a heartbeat unknown."""

    name = "book"
    heartbeat_seconds = 0.02

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.there: list[Instance] = []
        self.down = False

    async def register(self, instance: Instance) -> None:
        self._note("register")
        self.there = [instance]

    async def heartbeat(self, instance: Instance) -> bool:
        self._note("heartbeat")
        return instance in self.there

    async def deregister(self, instance: Instance) -> None:
        self._note("deregister")
        self.there = []

    async def close(self) -> None:
        self.asked.append("close")

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if self.down:
            raise SourceError("the book is closed; open it")


@pytest.fixture
def thread() -> Iterator[WatchThread]:
    thread = WatchThread()
    yield thread
    thread.stop()


def settings(**more: object) -> Settings:
    told = {"service": "orders", "version": "v2", "register": True, "address": "127.0.0.1:8001", **more}
    return Settings.from_mapping(told, environ={})


def test_a_process_that_knows_no_way_for_its_own_calls_asks_for_none_yet(thread: WatchThread) -> None:
    book, ready, asked = Book(), False, 0

    def is_ready() -> bool:
        nonlocal asked
        asked += 1
        return ready

    Registration(settings(), book, ready=is_ready, thread=thread).start()
    eventually(lambda: asked > 3)
    assert not book.there
    ready = True
    eventually(lambda: book.there)


def test_one_that_may_register_and_not_look_registers_after_a_while(
    thread: WatchThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graymw.runtime.registration.READY_SECONDS", 0.2)
    book = Book()
    Registration(settings(), book, ready=lambda: False, thread=thread).start()
    eventually(lambda: book.there)


def test_the_revision_of_the_rules_is_told_and_told_again_when_it_changes(thread: WatchThread) -> None:
    book, revision = Book(), [""]
    Registration(settings(), book, revision=lambda: revision[0], thread=thread).start()
    eventually(lambda: book.there)
    assert "gray-rev" not in book.there[0].metadata
    revision[0] = "9f3c2a11"
    eventually(lambda: book.there[0].metadata.get("gray-rev") == "9f3c2a11")
    assert book.asked.count("register") == 2


def standing(book: Book, thread: WatchThread, folder: Path | None = None, **more: object) -> Registration:
    registration = Registration(settings(**more), book, directory=folder, thread=thread)
    registration.start()
    return registration


def test_it_registers_what_the_settings_say_and_keeps_alive(thread: WatchThread) -> None:
    book = Book()
    standing(book, thread, weight=3, zone="a", metadata={"rack": "r7", "gray": "true"})
    eventually(lambda: book.asked.count("heartbeat") > 2)
    (instance,) = book.there
    assert (instance.service, instance.authority, instance.version) == ("orders", "127.0.0.1:8001", "v2")
    assert (instance.weight, instance.zone, instance.gray, instance.metadata) == (3, "a", True, {"rack": "r7"})
    assert book.asked.count("register") == 1


def test_it_leaves_when_it_is_stopped_and_only_once(thread: WatchThread) -> None:
    book = Book()
    registration = standing(book, thread)
    eventually(lambda: book.there)
    registration.stop()
    registration.stop()
    assert not book.there
    assert book.asked.count("deregister") == 1


class SlowBook(Book):
    """It takes its time to register, and does not stop in the middle at once."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = False

    async def register(self, instance: Instance) -> None:
        self.begun = True
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            self._note("register")


def test_a_registration_under_way_is_over_before_it_leaves(thread: WatchThread) -> None:
    book = SlowBook()
    registration = standing(book, thread)
    eventually(lambda: book.begun)
    registration.stop()
    assert book.asked == ["register", "close", "deregister", "close"]


def test_before_the_process_serves_nothing_is_registered(thread: WatchThread, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book()
    monkeypatch.setattr("graymw.runtime.own_address.listening", lambda: ())
    registration = standing(book, thread, address="")
    eventually(lambda: thread.alive)
    registration.stop()
    assert "register" not in book.asked
    assert "deregister" not in book.asked


def test_what_keeps_it_from_registering_is_told(
    thread: WatchThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("graymw.runtime.own_address.listening", lambda: (("127.0.0.1", 1), ("127.0.0.1", 2)))
    monkeypatch.setattr("graymw.runtime.registration.PATIENCE_SECONDS", 0.1)
    with caplog.at_level(logging.WARNING):
        registration = standing(Book(), thread, address="")
        eventually(lambda: registration.last_error)
    assert "listens at the ports 1, 2; set GRAYMW_ADDRESS" in caplog.text


def test_it_registers_again_where_the_registry_lost_it(thread: WatchThread) -> None:
    book = Book()
    standing(book, thread)
    eventually(lambda: book.there)
    book.there = []
    eventually(lambda: book.there)
    assert counters.snapshot()["registry.restored"] == 1


def test_a_registry_that_is_down_is_told_once_and_tried_again(
    thread: WatchThread, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book()
    book.down = True
    with caplog.at_level(logging.WARNING):
        registration = standing(book, thread)
        eventually(lambda: book.asked.count("register") > 1)
    assert registration.last_error == "the book is closed; open it"
    assert caplog.text.count("the book is closed") == 1
    book.down = False
    eventually(lambda: book.there)
    assert registration.last_error == ""


def test_a_registry_that_is_down_at_the_end_delays_it_by_little(thread: WatchThread) -> None:
    book = Book()
    registration = standing(book, thread)
    eventually(lambda: book.there)
    book.down = True
    registration.stop()
    assert counters.snapshot()["registry.left_behind"] == 1


def test_of_several_processes_one_speaks_and_the_last_takes_the_instance_out(
    thread: WatchThread, tmp_path: Path
) -> None:
    first, second = Book(), Book()
    one = standing(first, thread, tmp_path)
    eventually(lambda: first.there)
    other = standing(second, thread, tmp_path)
    eventually(lambda: other.instance)
    one.stop()
    assert first.there, "the other goes on with it"
    eventually(lambda: second.there)
    other.stop()
    assert not second.there


def forked(registration: Registration, thread: WatchThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fork of a worker does in the process that forks."""
    thread.stop()
    monkeypatch.setattr(forks, "workers", forks.workers + 1)
    thread.start()


def test_a_master_leaves_the_instance_to_its_workers(
    thread: WatchThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graymw.runtime.registration.SPEAKER_SECONDS", 0.01)
    monkeypatch.setattr("graymw.runtime.registration.listening", lambda: ())
    book, others = Book(), WatchThread()
    master = standing(book, thread, tmp_path)
    eventually(lambda: book.there)
    forked(master, thread, monkeypatch)
    worker = standing(book, others, tmp_path)
    eventually(lambda: worker.instance and book.asked.count("register") == 2)
    assert worker.stop(), "the master does not count"
    master.stop()
    assert book.asked.count("deregister") == 1
    others.stop()


def test_a_master_whose_workers_are_gone_takes_the_instance_back_while_it_listens(
    thread: WatchThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graymw.runtime.registration.SPEAKER_SECONDS", 0.01)
    monkeypatch.setattr("graymw.runtime.registration.STAND_BACK_SECONDS", 0.05)
    monkeypatch.setattr("graymw.runtime.registration.listening", lambda: (("127.0.0.1", 8001),))
    book = Book()
    master = standing(book, thread, tmp_path)
    eventually(lambda: book.there)
    forked(master, thread, monkeypatch)
    eventually(lambda: book.asked.count("register") == 2)
    assert master.stop()


def test_helpers_that_a_process_forks_do_not_register(thread: WatchThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "is_helper", True)
    book = Book()
    registration = standing(book, thread)
    eventually(lambda: not thread._watches)
    assert not registration.stop()
    assert book.asked == []
