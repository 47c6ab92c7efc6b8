"""The last spans of a process, without ending the process."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from graymw.telemetry import flushing


class Provider:
    def __init__(self, wait: threading.Event | None = None) -> None:
        self.done: list[str] = []
        self.wait = wait

    def force_flush(self, timeout_millis: int = 0) -> bool:
        self.done.append("flushed")
        if self.wait is not None:
            self.wait.wait(30)
        return True

    def shutdown(self) -> None:
        self.done.append("shut down")


@pytest.fixture(autouse=True)
def at_exit(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    registered: list[Any] = []
    monkeypatch.setattr(flushing, "_last", {})
    monkeypatch.setattr(flushing.atexit, "register", registered.append)
    before = signal.getsignal(signal.SIGTERM)
    yield registered
    signal.signal(signal.SIGTERM, before)


def test_the_end_of_python_ends_the_provider(at_exit: list[Any]) -> None:
    provider = Provider()
    flushing.flush_at_exit(provider, is_failing=bool)
    (ends,) = at_exit
    ends()
    assert provider.done == ["shut down"]


def test_a_failing_provider_delays_the_end_for_one_more_attempt_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "LIMIT", 3600.0)
    monkeypatch.setattr(flushing, "LIMIT_WHEN_FAILING", 0.01)
    never = threading.Event()
    flushing.flush_at_exit(Provider(never), is_failing=lambda: True)
    flushing.flush()
    never.set()


def test_a_fault_of_the_provider_does_not_keep_the_process_from_ending() -> None:
    class Broken(Provider):
        def force_flush(self, timeout_millis: int = 0) -> bool:
            raise RuntimeError("no")

    flushing.flush_at_exit(Broken(), is_failing=bool)
    flushing.flush()


def test_an_interpreter_that_starts_no_more_threads_flushes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    provider = Provider()
    flushing.flush_at_exit(provider, is_failing=bool)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    flushing.flush()
    assert provider.done == ["flushed"]


def test_several_providers_share_the_time_there_is() -> None:
    class Another(Provider):
        pass

    both = [Provider(), Another()]
    for provider in both:
        flushing.flush_at_exit(provider, is_failing=bool)
    flushing.flush()
    assert [provider.done for provider in both] == [["flushed"], ["flushed"]]


class TestSigterm:
    def test_is_watched_where_nobody_handles_it(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        flushing.flush_at_exit(Provider(), is_failing=bool)
        assert signal.getsignal(signal.SIGTERM) is flushing._terminated

    @pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda *_: None])
    def test_is_left_to_who_does(self, theirs: Any) -> None:
        signal.signal(signal.SIGTERM, theirs)
        flushing.flush_at_exit(Provider(), is_failing=bool)
        assert signal.getsignal(signal.SIGTERM) is theirs

    def test_is_left_alone_outside_the_main_thread(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        thread = threading.Thread(target=flushing.flush_at_exit, args=(Provider(),), kwargs={"is_failing": bool})
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


class TestLifespan:
    @pytest.mark.parametrize("end", ["lifespan.shutdown.complete", "lifespan.shutdown.failed"])
    def test_the_server_hears_of_its_end_when_all_is_sent(self, end: str) -> None:
        provider = Provider()
        flushing.flush_at_exit(provider, is_failing=bool)

        async def send(message: Any) -> None:
            provider.done.append(message["type"])

        async def live() -> None:
            watched = flushing.flush_after_lifespan(send)
            await watched({"type": "lifespan.startup.complete"})
            await watched({"type": end})

        asyncio.run(live())
        assert provider.done == ["lifespan.startup.complete", "flushed", end]

    def test_is_untouched_where_we_export_nothing(self) -> None:
        async def send(message: Any) -> None: ...

        assert flushing.flush_after_lifespan(send) is send
