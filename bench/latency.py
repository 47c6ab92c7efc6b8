"""How long a written rule document takes until requests are decided by it, in every one of eight processes.

From the moment before the write to the first request in a process that the new document decides; each process asks
every two milliseconds. Real servers, as the tests run them; one that is not installed is left out.

``python -m bench.latency [BACKEND ...]``
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import pytest
from rule_backends import RuleBackend, variants

from bench.harness import keep
from graymw.core.document import parse
from graymw.core.facts import RequestFacts
from graymw.registries.static import StaticRegistry
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings

PROCESSES = 8
WRITES = 30
PAUSE = 0.25
LOOK = 0.002
BACKENDS = (
    "file", "redis", "etcd-3.5", "consul-1.8", "nacos-3.1", "nacos-2.2-users", "apollo-stand-in", "http-password"
)  # fmt: skip


def document(number: int) -> str:
    return (
        f"schema: 1\nreleases:\n  checkout:\n    stable: v1\n    rules:\n      - split: {{v2: {number / 100:.2f}%}}\n"
    )


def process(backend: RuleBackend, out: int) -> None:
    """Decide requests for ever; tell the pipe when a new revision decides for the first time."""
    engine = Engine(Settings(service="orders"), StaticRegistry({}))
    DocumentKeeper(backend.source(), on_change=engine.adopt).watch()
    facts, seen = RequestFacts(user="40"), ""
    while True:
        context = engine.snapshot.rules.decide(facts)
        if context.revision and context.revision != seen:
            seen = context.revision
            os.write(out, f"{seen} {time.monotonic()}\n".encode())
        time.sleep(LOOK)


@contextmanager
def processes(backend: RuleBackend) -> Iterator[int]:
    reading, writing = os.pipe()
    children = []
    for _ in range(PROCESSES):
        child = os.fork()
        if child == 0:
            try:
                process(backend, writing)
            finally:
                os._exit(1)
        children.append(child)
    os.close(writing)
    try:
        yield reading
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(reading)


class Reports:
    """What the processes tell, by revision."""

    def __init__(self, reading: int) -> None:
        os.set_blocking(reading, False)
        self._reading = reading
        self._rest = b""
        self.times: dict[str, list[float]] = {}

    def wait_for(self, revision: str, seconds: float) -> list[float]:
        deadline = time.monotonic() + seconds
        while len(self.times.get(revision, ())) < PROCESSES and time.monotonic() < deadline:
            try:
                *lines, self._rest = (self._rest + os.read(self._reading, 65_536)).split(b"\n")
            except BlockingIOError:
                time.sleep(LOOK)
                continue
            for line in lines:
                told, at = line.decode().split()
                self.times.setdefault(told, []).append(float(at))
        return self.times.get(revision, [])


def latencies(backend: RuleBackend) -> tuple[list[float], int]:
    """Milliseconds of each process and write, and how many never came."""
    backend.write(document(1))
    found, missing = [], 0
    with processes(backend) as reading:
        reports = Reports(reading)
        first = reports.wait_for(parse(document(1)).revision, 60)
        if len(first) < PROCESSES:
            raise RuntimeError(f"only {len(first)} of {PROCESSES} processes began")
        for number in range(2, WRITES + 2):
            revision = parse(document(number)).revision
            written = time.monotonic()
            backend.write(document(number))
            times = reports.wait_for(revision, 10)
            missing += PROCESSES - len(times)
            found += [(at - written) * 1e3 for at in times]
            time.sleep(PAUSE)
    return found, missing


def main(names: list[str]) -> None:
    opened = variants()
    results: dict[str, Any] = {}
    print(
        f"{PROCESSES} processes, {WRITES} writes; milliseconds from before the write to the first request decided by it"
    )
    print(f"{'backend':14}{'median':>9}{'p99':>9}{'max':>9}{'missed':>9}")
    for name in names or [name for name in BACKENDS if name in opened]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                with opened[name](Path(folder)) as backend:
                    found, missing = latencies(backend)
            except pytest.skip.Exception as reason:
                print(f"{name:14} left out: {reason}")
                continue
        found.sort()
        told = {
            "median_ms": statistics.median(found),
            "p99_ms": found[min(len(found) - 1, int(len(found) * 0.99))],
            "max_ms": found[-1],
            "missed": missing,
        }
        results[name] = told
        print(f"{name:14}{told['median_ms']:9.1f}{told['p99_ms']:9.1f}{told['max_ms']:9.1f}{missing:9}")
    keep("latency", results)


if __name__ == "__main__":
    main(sys.argv[1:])
