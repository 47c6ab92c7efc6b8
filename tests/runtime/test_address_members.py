from __future__ import annotations

import os
import signal
from pathlib import Path

from waiting import eventually

from graymw.runtime.address_members import AddressMembers


def test_one_speaks_and_the_last_one_is_told_so(tmp_path: Path) -> None:
    first, second = AddressMembers(tmp_path, "a"), AddressMembers(tmp_path, "a")
    assert first.speak()
    assert not second.speak()
    assert first.speak()
    assert not first.leave()
    assert second.speak()
    assert second.leave()


def test_other_addresses_have_speakers_of_their_own(tmp_path: Path) -> None:
    first, second = AddressMembers(tmp_path, "a"), AddressMembers(tmp_path, "b")
    assert first.speak()
    assert second.speak()
    assert first.leave()


def test_without_a_place_for_locks_each_stands_alone(tmp_path: Path) -> None:
    for directory in (None, tmp_path / "missing"):
        first, second = AddressMembers(directory, "a"), AddressMembers(directory, "a")
        assert first.speak()
        assert second.speak()
        assert first.leave()


def test_a_killed_process_no_longer_speaks(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        members = AddressMembers(tmp_path, "a")
        (tmp_path / "spoken").write_text(str(members.speak()))
        signal.pause()
        os._exit(0)
    eventually(lambda: (tmp_path / "spoken").exists() and (tmp_path / "spoken").read_text() == "True")
    members = AddressMembers(tmp_path, "a")
    assert not members.speak()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert members.speak()
    assert members.leave()


def test_a_forked_child_neither_leaves_for_its_parent_nor_keeps_its_locks(tmp_path: Path) -> None:
    parent = AddressMembers(tmp_path, "a")
    assert parent.speak()
    child = os.fork()
    if child == 0:
        left = parent.leave()
        parent.close()
        os._exit(1 if left else 0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    other = AddressMembers(tmp_path, "a")
    assert not other.speak()
    assert not other.leave()
    assert parent.leave()
