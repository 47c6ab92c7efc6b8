from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest
from waiting import eventually

from graymw.runtime import sigterm


class Server:
    """A server's handler, and what is done before it, in the order in which they happen."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.out = True

    def handler(self, _number: int, _frame: FrameType | None) -> None:
        self.heard.append("server")

    def work(self) -> bool:
        self.heard.append("work")
        return self.out


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(sigterm, "_works", [])
    monkeypatch.setattr(sigterm, "SETTLE_SECONDS", 0.05)
    server = Server()
    before = signal.signal(signal.SIGTERM, server.handler)
    yield server
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("out", [True, False])
def test_what_comes_first_is_done_before_the_server_hears_of_it_once(server: Server, out: bool) -> None:
    server.out = out
    sigterm.first_on_sigterm(server.work)
    sigterm.first_on_sigterm(server.work)
    sigterm.arm()
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: "server" in server.heard)
    assert server.heard == ["work", "server"]


def test_a_second_signal_goes_straight_to_the_server(server: Server) -> None:
    going_on = threading.Event()
    sigterm.first_on_sigterm(lambda: going_on.wait(10))
    signal.raise_signal(signal.SIGTERM)
    assert server.heard == []
    signal.raise_signal(signal.SIGTERM)
    assert server.heard == ["server"]
    going_on.set()
    eventually(lambda: server.heard == ["server", "server"])


def test_a_fault_keeps_no_server_from_ending(server: Server) -> None:
    def broken() -> bool:
        raise OSError("no")

    sigterm.first_on_sigterm(broken)
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: server.heard == ["server"])


def test_who_installs_a_handler_later_is_found_at_the_start_of_the_lifespan(server: Server) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sigterm.first_on_sigterm(server.work)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signal.signal(signal.SIGTERM, server.handler)
    sigterm.arm()
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: server.heard == ["work", "server"])


def test_handlers_of_an_event_loop_are_left_alone(server: Server) -> None:
    async def serving() -> None:
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.set)
        sigterm.first_on_sigterm(server.work)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(heard.wait(), 10)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)

    asyncio.run(serving())
    assert server.heard == [], "no work, and no second signal for a loop that would take it for impatience"
