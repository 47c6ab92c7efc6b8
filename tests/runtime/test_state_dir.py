from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from graymw.runtime import counters
from graymw.runtime.state_dir import StateDir, open_state_dir


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    opened = open_state_dir(str(tmp_path / "state"))
    assert opened is not None
    return opened


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_missing_directory_is_made_for_this_user_only(state: StateDir, tmp_path: Path) -> None:
    assert state.path == tmp_path / "state"
    assert mode(state.path) == 0o700


def test_what_is_written_can_be_read(state: StateDir) -> None:
    state.write("a", b"1")
    state.write("a", b"22", durable=True)
    assert state.read("a") == b"22"
    assert state.read("b") is None
    assert state.names() == ["a"]
    assert mode(state.path / "a") == 0o600
    state.remove("a")
    state.remove("a")
    assert state.names() == []


def test_a_reader_sees_whole_files_only(state: StateDir) -> None:
    whole = {bytes([number]) * 100_000 for number in range(4)}
    state.write("a", min(whole))

    def write() -> None:
        for content in list(whole) * 20:
            state.write("a", content)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert state.read("a") in whole
        assert state.names() == ["a"]
    assert list(state.path.iterdir()) == [state.path / "a"]


def test_a_write_that_was_interrupted_is_no_obstacle(state: StateDir) -> None:
    (state.path / f".a.{os.getpid()}.{threading.get_ident()}").write_bytes(b"half")
    state.write("a", b"1")
    assert list(state.path.iterdir()) == [state.path / "a"]


def test_a_failed_write_leaves_what_was_there(state: StateDir) -> None:
    (state.path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        state.write("a", b"1")
    assert list(state.path.iterdir()) == [state.path / "a"]


def test_a_link_is_not_followed(state: StateDir, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (state.path / "a").symlink_to(secret)
    with pytest.raises(OSError, match="a"):
        state.read("a")
    state.write("a", b"1")
    assert secret.read_text() == "secret"
    assert state.read("a") == b"1"


def test_a_pipe_is_not_waited_for(state: StateDir) -> None:
    os.mkfifo(state.path / "a")
    with pytest.raises(PermissionError):
        state.read("a")


def test_a_directory_that_others_can_write_to_is_not_trusted(tmp_path: Path) -> None:
    """A mounted volume, say: a directory of our own inside it is."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    opened = open_state_dir(str(shared))
    assert opened is not None
    assert opened.path == shared / f"graymw-{os.geteuid()}"
    assert mode(opened.path) == 0o700


def test_a_directory_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "theirs"
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: directory.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="another user"):
        StateDir(directory).make()


def test_a_directory_that_comes_into_other_hands_is_not_used_any_more(state: StateDir) -> None:
    state.write("a", b"1")
    state.path.chmod(0o770)
    for use in (lambda: state.read("a"), lambda: state.write("a", b"2"), state.names, lambda: state.remove("a")):
        with pytest.raises(PermissionError, match="other users"):
            use()


def test_the_default_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def path(**environ: str) -> Path:
        opened = open_state_dir(environ=environ)
        assert opened is not None
        return opened.path

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    home = str(tmp_path / "home")
    assert path(XDG_STATE_HOME=str(tmp_path / "xdg"), HOME=home) == tmp_path / "xdg" / "graymw"
    assert path(XDG_STATE_HOME="relative", HOME=home) == tmp_path / "home" / ".local" / "state" / "graymw"
    assert path() == tmp_path / "tmp" / f"graymw-{os.geteuid()}"
    assert path(HOME="/dev/null") == path()


def test_a_place_prepared_by_somebody_else_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "xdg").mkdir()
    (tmp_path / "xdg" / "graymw").symlink_to(elsewhere)
    opened = open_state_dir(environ={"XDG_STATE_HOME": str(tmp_path / "xdg")})
    assert opened is not None
    assert opened.path == tmp_path / "tmp" / f"graymw-{os.geteuid()}"


def test_no_place_at_all_is_logged_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "file"
    file.touch()
    assert open_state_dir(str(file)) is None
    assert open_state_dir(str(file)) is None
    assert len(caplog.records) == 1
    assert str(file) in caplog.text
    assert counters.snapshot() == {"state.error": 2}
