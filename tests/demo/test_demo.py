"""The demo itself, run as a user runs it: as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from graymw.demo import run_demo
from graymw.demo.receiver import Receiver
from graymw.demo.spans import SpanStore
from graymw.errors import MissingExtraError


@contextmanager
def demo(*options: str, log: Path, **environ: str) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "graymw.demo", *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"TMPDIR": str(log.parent)} | environ,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def report_of(process: subprocess.Popen[str]) -> Any:
    """The JSON document a demo writes; it ends with a brace of its own on a line."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            break
    return json.loads("".join(lines))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def descendants(pid: int) -> set[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = {int(child) for child in children.read_text().split()} if children.exists() else set()
    return found.union(*map(descendants, found))


def pids_of(report: Mapping[str, Any]) -> set[int]:
    return {service["pid"] for service in report["services"]}


def test_everything_holds_and_the_chain_stays_until_it_is_told_to_end(tmp_path: Path) -> None:
    theirs = SpanStore()
    with (
        Receiver(theirs) as upstream,
        demo(
            "--json",
            "--keep",
            "--users=60",
            log=tmp_path / "log",
            OTEL_EXPORTER_OTLP_ENDPOINT=upstream.url,
            HTTP_PROXY="http://127.0.0.1:1",
        ) as process,
    ):
        report = report_of(process)
        assert [check for check in report["checks"] if not check["held"]] == []
        assert report["held"] is True
        assert [entry["split"]["asked"] for entry in report["rounds"]] == [0.1, 0.5]
        assert report["change"]["joined"]
        assert report["exported_to"]["failures"] == 0
        assert theirs.trace(report["trace"][0]["trace_id"])

        edge = next(service["url"] for service in report["services"] if service["service"] == "edge")
        answer = httpx.get(f"{edge}/checkout", headers={"x-user-id": "40"}, trust_env=False).json()
        assert (answer["next"]["version"], answer["next"]["next"]["version"]) == ("v2", "v2")

        everything = descendants(process.pid)
        assert pids_of(report) <= everything
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT
        assert not [pid for pid in everything if is_alive(pid)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_an_interruption_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo("--json", log=tmp_path / "log") as process:
        assert until(lambda: len(descendants(process.pid)) >= 4)
        everything = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
        assert not [pid for pid in everything if is_alive(pid)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_a_missing_library_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "flask" else object())
    with pytest.raises(MissingExtraError, match=r"flask is not installed: pip install 'graymw\[demo\]'"):
        run_demo()


def test_nobody_is_no_number_of_users() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        run_demo(users=0)
