from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually

from graymw.core.model import RuleDocument
from graymw.runtime import counters, process_status, settings_follower
from graymw.runtime.documents import CurrentDocument, DocumentKeeper
from graymw.runtime.process_status import HEARTBEAT_SECONDS, ProcessStatus, StatusWriter, read_all
from graymw.runtime.settings_follower import SettingsFollower
from graymw.runtime.state_dir import StateDir
from graymw.runtime.watching import WatchThread
from graymw.settings.loader import load_settings


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state")
    state.make()
    return state


@pytest.fixture
def keeper() -> DocumentKeeper:
    return DocumentKeeper(None, on_change=lambda _: None)


@pytest.fixture
def writer(state: StateDir, keeper: DocumentKeeper) -> Iterator[StatusWriter]:
    thread = WatchThread()
    writer = StatusWriter(state, service="orders", version="v2", keeper=keeper, thread=thread)
    writer.start()
    eventually(lambda: read_all(state))
    yield writer
    writer.stop()
    assert thread.stop(5.0)


def only(state: StateDir) -> ProcessStatus:
    (status,) = read_all(state)
    return status


def planted(state: StateDir, status: ProcessStatus, name: str = "process-planted.json") -> None:
    state.write(name, json.dumps(dataclasses.asdict(status)).encode())


def a_process(**changes: object) -> ProcessStatus:
    pid = os.getpid()
    own = ProcessStatus(
        pid=pid, place=process_status._place(), birth=process_status._birth(pid), service="orders", version="v1",
        revision="", source="", loaded_at=None, from_disk=False, last_error="", started=1.0, updated=time.time(),
    )  # fmt: skip
    return dataclasses.replace(own, **changes)  # type: ignore[arg-type]


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_process_tells_who_it_is(writer: StatusWriter, state: StateDir) -> None:
    status = only(state)
    assert (status.pid, status.service, status.version) == (os.getpid(), "orders", "v2")
    assert (status.revision, status.source, status.loaded_at, status.last_error) == ("", "", None, "")
    assert status.started <= status.updated <= time.time()
    assert status.alive


def test_a_change_shows(writer: StatusWriter, state: StateDir, keeper: DocumentKeeper) -> None:
    keeper.current = CurrentDocument(RuleDocument(revision="9f3c2a11"), "rules.yaml", 12.5, from_disk=True)
    keeper.last_error = "rules.yaml cannot be read"
    eventually(lambda: only(state).revision)
    status = only(state)
    assert (status.revision, status.loaded_at, status.from_disk) == ("9f3c2a11", 12.5, True)
    assert status.last_error == "rules.yaml cannot be read"


def test_counters_show(writer: StatusWriter, state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_status, "COUNTER_SECONDS", 0.1)
    counters.count("rules.refused", 3)
    eventually(lambda: only(state).counters.get("rules.refused") == 3)


def test_counters_alone_are_written_seldom() -> None:
    written = a_process(updated=100.0)
    later = dataclasses.replace(written, updated=100.5, counters={"x": 1})
    assert not process_status._due(written, later)
    assert process_status._due(written, dataclasses.replace(later, updated=104.0))
    assert not process_status._due(written, dataclasses.replace(written, updated=104.0))
    assert process_status._due(written, dataclasses.replace(written, updated=100.0 + HEARTBEAT_SECONDS))


def test_a_file_that_others_cannot_read(writer: StatusWriter, state: StateDir) -> None:
    (name,) = state.names()
    assert (state.path / name).stat().st_mode & 0o077 == 0


def test_the_file_goes_with_the_process_that_stops(writer: StatusWriter, state: StateDir) -> None:
    writer.stop()
    writer.stop()
    assert state.names() == []


def test_the_dead_are_taken_away_by_who_reads(state: StateDir) -> None:
    planted(state, a_process(pid=dead_pid()))
    assert read_all(state) == []
    assert state.names() == []


def test_the_dead_are_taken_away_by_who_begins(state: StateDir, keeper: DocumentKeeper) -> None:
    """Forked processes end without taking their files along, and nobody may ever ask for the status."""
    planted(state, a_process(pid=dead_pid()))
    thread = WatchThread()
    writer = StatusWriter(state, service="orders", version="v2", keeper=keeper, thread=thread)
    writer.start()
    eventually(lambda: state.names() not in ([], ["process-planted.json"]))
    assert "process-planted.json" not in state.names()
    writer.stop()
    assert thread.stop(5.0)


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells no birth of a process")
def test_a_namesake_of_a_dead_process_is_not_taken_for_it(state: StateDir) -> None:
    planted(state, a_process(birth=1))
    assert read_all(state) == []


def test_a_process_of_another_host_lives_as_long_as_it_is_heard_of(state: StateDir) -> None:
    planted(state, a_process(place="elsewhere", pid=1))
    assert [status.place for status in read_all(state)] == ["elsewhere"]
    planted(state, a_process(place="elsewhere", pid=1, updated=time.time() - 4 * HEARTBEAT_SECONDS))
    assert read_all(state) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"pid": 1, "of a later release": 2}', b"\xff"])
def test_what_cannot_be_understood_is_left_alone(state: StateDir, content: bytes) -> None:
    state.write("process-x.json", content)
    state.write("last-good.json", b"{}")
    assert read_all(state) == []
    assert len(state.names()) == 2


def test_processes_come_in_order(state: StateDir) -> None:
    for number, (service, version) in enumerate([("orders", "v2"), ("edge", "v1"), ("orders", "v1")]):
        planted(state, a_process(service=service, version=version), f"process-{number}.json")
    assert [(status.service, status.version) for status in read_all(state)] == [
        ("edge", "v1"), ("orders", "v1"), ("orders", "v2"),
    ]  # fmt: skip


def test_a_directory_in_other_hands_does_not_hurt(
    writer: StatusWriter, state: StateDir, keeper: DocumentKeeper
) -> None:
    state.path.chmod(0o777)
    keeper.last_error = "x"
    eventually(lambda: counters.snapshot().get("watch.failed"))
    state.path.chmod(0o700)
    eventually(lambda: only(state).last_error == "x")


SERVING = """
import os, sys, time
from pathlib import Path
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.process_status import StatusWriter, read_all
from graymw.runtime.state_dir import StateDir

def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)

state = StateDir(Path(sys.argv[1]))
writer = StatusWriter(state, service="orders", version="v1", keeper=DocumentKeeper(None, on_change=print))
writer.start()
pids = lambda: {status.pid for status in read_all(state)}
eventually(lambda: os.getpid() in pids())
"""


def test_the_state_of_the_settings_files_is_told(
    state: StateDir, keeper: DocumentKeeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_follower, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(process_status, "LOOK_SECONDS", 0.02)
    path, thread = tmp_path / "graymw.yaml", WatchThread()
    path.write_text("service: orders\n")
    settings = load_settings(environ={}, directory=tmp_path)
    follower = SettingsFollower(settings, on_change=lambda _: None, thread=thread)
    writer = StatusWriter(state, service="orders", version="", keeper=keeper, follower=follower, thread=thread)
    follower.start()
    writer.start()
    path.write_text("service: orders\nzone: b\nweight: 2\n")
    eventually(lambda: [status.restart_needed for status in read_all(state)] == ["GRAYMW_ZONE, GRAYMW_WEIGHT"])
    path.write_text("service: orders\ntrust: everybody\n")
    eventually(lambda: "GRAYMW_TRUST" in only(state).settings_error)
    path.write_text("service: orders\n")
    eventually(lambda: (only(state).settings_error, only(state).restart_needed) == ("", ""))
    writer.stop()
    follower.stop()
    assert thread.stop(5.0)


def run(state: StateDir, script: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVING + script, str(state.path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_process_that_ends_leaves_no_file(state: StateDir) -> None:
    run(state, "")
    assert state.names() == []


def test_a_process_that_is_killed_is_not_told_of(state: StateDir) -> None:
    run(state, "os._exit(0)")
    assert len(state.names()) == 1
    assert read_all(state) == []


def test_a_forked_worker_has_a_file_of_its_own(state: StateDir) -> None:
    run(
        state,
        """
seen, tell = os.pipe()
child = os.fork()
if child == 0:
    assert os.read(seen, 1)
    sys.exit(0)
eventually(lambda: pids() == {os.getpid(), child})
os.write(tell, b"x")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert len(state.names()) == 1
""",
    )
    assert state.names() == []
