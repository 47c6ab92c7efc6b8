from __future__ import annotations

from pathlib import Path

import pytest

from graymw.runtime import counters
from graymw.runtime.last_good import LastGood
from graymw.runtime.ports import Fetched
from graymw.runtime.state_dir import StateDir


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state")
    state.make()
    return state


def kept_in(state: StateDir | None, service: str = "orders", source: str = "etcd://host/rules") -> LastGood:
    return LastGood(state, service=service, source=source)


@pytest.mark.parametrize("text", ["schema: 1 # é\n", b"schema: 1\n", b"\xff\xfes\x00", ""])
def test_a_document_comes_back_as_it_was(state: StateDir, text: str | bytes) -> None:
    kept_in(state).save(Fetched(text, "etcd://host/rules", "yaml", "7"), now=1000.5)
    kept = kept_in(state).load()
    assert kept is not None
    assert (kept.fetched.text, kept.fetched.format, kept.saved_at) == (text, "yaml", 1000.5)
    assert kept.fetched.origin == "etcd://host/rules (copy on disk)"


def test_services_and_sources_do_not_share(state: StateDir) -> None:
    kept_in(state).save(Fetched("a", "x"), now=1)
    assert kept_in(state, service="payments").load() is None
    assert kept_in(state, source="etcd://other/rules").load() is None
    assert kept_in(state, service="../../etc/passwd").load() is None


def test_what_is_there_already_is_not_written_again(state: StateDir) -> None:
    kept_in(state).save(Fetched("a", "x"), now=1)
    kept_in(state).save(Fetched("a", "x"), now=2)
    kept = kept_in(state).load()
    assert kept is not None
    assert kept.saved_at == 1


def test_nothing_is_kept_of_what_is_not_worth_it(state: StateDir) -> None:
    kept_in(state).save(Fetched("a", "settings", keep=False), now=1)
    kept_in(state).save(Fetched(None, "x"), now=1)
    kept_in(None).save(Fetched("a", "x"), now=1)
    assert state.names() == []
    assert kept_in(None).load() is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"format": null, "saved_at": 1}', b'{"text": "a"}', b"\xff"]
)
def test_a_damaged_copy_is_no_copy(state: StateDir, content: bytes) -> None:
    kept_in(state).save(Fetched("a", "x"), now=1)
    (name,) = state.names()
    state.write(name, content)
    assert kept_in(state).load() is None
    assert counters.snapshot() == {"state.error": 1}


def test_a_disk_that_takes_nothing_is_told_once(state: StateDir, caplog: pytest.LogCaptureFixture) -> None:
    state.path.chmod(0o777)
    for _ in range(3):
        kept_in(state).save(Fetched("a", "x"), now=1)
    assert len(caplog.records) == 2, "that it cannot be read, that it cannot be written"
