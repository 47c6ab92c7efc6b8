"""A config centre that is killed and started again while rules are written and requests decided.

No write is lost, no request goes without a decision, and at the end every process obeys the last document.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rule_backends import RuleBackend, variants
from waiting import eventually

from graymw.core.document import parse
from graymw.core.facts import RequestFacts
from graymw.errors import SourceError
from graymw.registries.static import StaticRegistry
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.engine import Engine
from graymw.runtime.ports import Change
from graymw.settings.schema import Settings

SIZES = {"etcd-3.5": (1_000, 20), "redis": (200, 4), "consul-1.8": (200, 4)}
"""Writes and restarts."""

WRITERS = 4
PROCESSES = 3
HEAD = "schema: 1\nreleases:\n  checkout:\n    stable: v1\n    rules:\n      - split: {v2: 50%}\n"


@pytest.fixture
def backend(name: str, tmp_path: Path) -> Iterator[RuleBackend]:
    with variants()[name](tmp_path) as opened:
        opened.write(f"{HEAD}# begun\n")
        yield opened


class Decider:
    """Decides requests without a pause, and counts those that no rules decided."""

    def __init__(self, backend: RuleBackend) -> None:
        self.engine = Engine(Settings(service="orders"), StaticRegistry({}))
        self.keeper = DocumentKeeper(backend.source(), on_change=self.engine.adopt)
        self.keeper.watch()
        self.decided = self.undecided = 0
        eventually(lambda: self.revision, 30)

    @property
    def revision(self) -> str:
        return self.keeper.current.revision

    def ask(self, number: int) -> None:
        if self.engine.snapshot.rules.decide(RequestFacts(user=str(number))).decisions:
            self.decided += 1
        else:
            self.undecided += 1


@contextmanager
def deciding(backend: RuleBackend) -> Iterator[Decider]:
    decider = Decider(backend)
    try:
        yield decider
    finally:
        decider.keeper.stop()


@contextmanager
def processes(backend: RuleBackend, folder: Path) -> Iterator[list[Path]]:
    """Processes that watch too; each keeps the revision it obeys in a file."""
    files = [folder / f"revision-{number}" for number in range(PROCESSES)]
    children = []
    for file in files:
        child = os.fork()
        if child == 0:
            try:
                told, decider = "", Decider(backend)
                while True:
                    if decider.revision != told:
                        told = decider.revision
                        file.write_text(told)
                    threading.Event().wait(0.02)
            finally:
                os._exit(1)
        children.append(child)
    try:
        yield files
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


async def add(backend: RuleBackend, number: int) -> None:
    """Add a line to what is read, until it stands there: a write that failed may have been done all the same."""
    line = f"# line {number}"
    while True:
        store = backend.store()
        assert store is not None
        try:
            fetched = await store.read()
            held = fetched.text.decode() if isinstance(fetched.text, bytes) else fetched.text or ""
            if line in held.splitlines():
                return
            text = f"{HEAD.replace('50%', f'{10 + number % 80}%')}{held.partition('50%}')[2] or held.split('%}', 1)[1]}"
            text = f"{text.rstrip()}\n{line}\n"
            await store.write(Change(text, parse(text).revision, 0.0, "ann", f"add {number}"), expected=fetched.version)
        except SourceError:
            await asyncio.sleep(random.uniform(0.005, 0.05))
        finally:
            await store.close()


async def write_all(backend: RuleBackend, writes: int, done: list[int]) -> None:
    numbers = iter(range(writes))

    async def writer() -> None:
        for number in numbers:
            await add(backend, number)
            done.append(number)

    await asyncio.gather(*(writer() for _ in range(WRITERS)))


@pytest.mark.parametrize("name", SIZES)
def test_no_write_is_lost_no_request_undecided_no_process_stale(
    name: str, backend: RuleBackend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writes, restarts = SIZES[name]
    with processes(backend, tmp_path) as files, deciding(backend) as decider:
        eventually(lambda: all(file.exists() for file in files), 60)
        done = list[int]()
        writing = threading.Thread(target=lambda: asyncio.run(write_all(backend, writes, done)), daemon=True)
        stopping = threading.Event()

        def ask() -> None:
            number = 0
            while not stopping.wait(0.002):
                number += 1
                decider.ask(number)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        writing.start()
        for restart in range(1, restarts + 1):
            eventually(lambda wanted=restart * writes // (restarts + 1): len(done) >= wanted, 120)  # type: ignore[misc]
            backend.stop()
            backend.start()
        writing.join(120)
        assert not writing.is_alive()

        text = asyncio.run(read(backend))
        assert {line for line in text.splitlines() if line.startswith("# line")} == {
            f"# line {n}" for n in range(writes)
        }
        revision = parse(text).revision
        eventually(lambda: decider.revision == revision, 30)
        eventually(lambda: [file.read_text() for file in files] == [revision] * PROCESSES, 30)
        stopping.set()
        asking.join()
        assert decider.undecided == 0
    with capsys.disabled():
        print(f"\n{name} under fire: {writes} writes, {restarts} restarts, {decider.decided} requests, none undecided")


async def read(backend: RuleBackend) -> str:
    store = backend.store()
    assert store is not None
    try:
        fetched = await store.read()
    finally:
        await store.close()
    return fetched.text.decode() if isinstance(fetched.text, bytes) else fetched.text or ""
