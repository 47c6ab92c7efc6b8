"""Lines reach their place in order, whatever happens to it, and nobody who puts one waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from graymw.runtime import counters
from graymw.telemetry import line_writing
from graymw.telemetry.line_writing import LineWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines.jsonl"


@pytest.fixture
def writer(path: Path) -> Iterator[LineWriter]:
    writer = LineWriter(str(path))
    yield writer
    writer.close()


def put(writer: LineWriter, *lines: str) -> None:
    for line in lines:
        writer.put(lambda line=line: line)


def test_lines_stand_in_the_order_they_were_put(writer: LineWriter, path: Path) -> None:
    lines = [f"{number} " + "x" * (number % 50 * 100) for number in range(1_000)]
    put(writer, *lines)
    assert writer.flush(20)
    assert path.read_text().splitlines() == lines


def test_a_file_that_is_there_is_appended_to(writer: LineWriter, path: Path) -> None:
    path.write_text("before\n")
    put(writer, "after")
    assert writer.flush()
    assert path.read_text() == "before\nafter\n"


def test_a_file_that_was_renamed_or_removed_is_made_anew(writer: LineWriter, path: Path) -> None:
    put(writer, "first")
    writer.flush()
    path.rename(path.with_suffix(".1"))
    put(writer, "second")
    writer.flush()
    assert (path.with_suffix(".1").read_text(), path.read_text()) == ("first\n", "second\n")
    path.unlink()
    put(writer, "third")
    writer.flush()
    assert path.read_text() == "third\n"


def test_a_closed_writer_can_be_used_again(writer: LineWriter, path: Path) -> None:
    put(writer, "first")
    writer.close()
    assert path.read_text() == "first\n"
    put(writer, "second")
    assert writer.flush()
    assert path.read_text() == "first\nsecond\n"


def test_without_a_line_there_is_no_thread_and_no_file(writer: LineWriter, path: Path) -> None:
    assert writer.flush(0)
    assert not path.exists()


def test_a_line_that_cannot_be_made_costs_itself_only(writer: LineWriter, path: Path) -> None:
    def broken() -> str:
        raise ValueError("no line")

    writer.put(broken)
    put(writer, "next")
    writer.flush()
    assert path.read_text() == "next\n"
    assert counters.snapshot()["access_log.lost"] == 1


def test_where_lines_cannot_go_is_told_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "later" / "lines.jsonl"
    writer = LineWriter(str(target))
    for line in ("first", "second"):
        put(writer, line)
        writer.flush()
    assert caplog.messages == [f"access lines cannot go to {target}: No such file or directory"]
    assert counters.snapshot()["access_log.lost"] == 2
    target.parent.mkdir()
    put(writer, "third")
    writer.close()
    assert target.read_text() == "third\n"


def test_too_many_waiting_lines_are_dropped_and_counted(
    writer: LineWriter, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(line_writing, "MOST_WAITING", 3)
    begun, go = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        go.wait(20)
        return "slow"

    writer.put(slow)
    assert begun.wait(20)
    put(writer, "1", "2", "3", "dropped", "dropped too")
    go.set()
    writer.flush()
    assert path.read_text().splitlines() == ["slow", "1", "2", "3"]
    assert counters.snapshot()["access_log.dropped"] == 2
    assert len(caplog.messages) == 1


def test_standard_streams_are_those_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("stdout", "stderr"):
        writer = LineWriter(name)
        put(writer, name)
        writer.close()
    assert capsys.readouterr() == ("stdout\n", "stderr\n")


def test_a_relative_path_counts_from_where_the_process_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    writer = LineWriter("here.jsonl")
    monkeypatch.chdir("/")
    put(writer, "line")
    writer.close()
    assert (tmp_path / "here.jsonl").read_text() == "line\n"


def test_a_forked_process_writes_its_own_lines_and_none_of_its_parent(tmp_path: Path) -> None:
    path, script = tmp_path / "lines.jsonl", tmp_path / "script.py"
    script.write_text(
        f"""
import os
from graymw.telemetry import line_writing
writer = line_writing.LineWriter({str(path)!r})
writer.put(lambda: "parent")
writer.flush()
writer._waiting.put(lambda: "waiting")
child = os.fork()
writer.put(lambda: "child" if child == 0 else "parent again")
line_writing.flush_all()
if child:
    os.waitpid(child, 0)
else:
    os._exit(0)
"""
    )
    subprocess.run([sys.executable, str(script)], check=True, timeout=60)
    lines = path.read_text().splitlines()
    assert lines[0] == "parent"
    assert sorted(lines) == ["child", "parent", "parent again", "waiting"]
