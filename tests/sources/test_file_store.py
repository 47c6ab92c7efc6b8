from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from graymw.runtime.ports import Change
from graymw.sources.file_store import FileStore

TEXT = "releases: {}\n"


def write(path: Path, text: str = TEXT) -> FileStore:
    async def run() -> FileStore:
        store = FileStore(path)
        fetched = await store.read()
        await store.write(Change(text, "12345678", 1.0, "me", "set"), expected=fetched.version)
        return store

    return asyncio.run(run())


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text("# before\nreleases: {}\n")
    return path


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_history_is_for_those_who_may_read_the_document(rules: Path, mode: int) -> None:
    rules.chmod(mode)
    write(rules)
    assert {path.name: rights(path) for path in rules.parent.glob("rules*")} == {
        "rules.yaml": mode,
        "rules.yaml.history.jsonl": mode,
    }


def test_a_new_document_has_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "rules.yaml")
    finally:
        os.umask(before)
    assert {rights(path) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_who_owns_the_document_owns_it_and_its_history_afterwards(rules: Path) -> None:
    os.chown(rules, 12_345, 12_346)
    write(rules)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in rules.parent.iterdir()} == {(12_345, 12_346)}


def test_a_link_that_somebody_laid_in_the_way_is_not_followed(rules: Path) -> None:
    victim = rules.parent / "victim"
    victim.write_text("precious")
    for name in (rules.name, f"{rules.name}.history.jsonl"):
        (rules.parent / f".{name}.{os.getpid()}.new").symlink_to(victim)
    write(rules)
    assert victim.read_text() == "precious"
    assert not rules.is_symlink()
    assert rules.read_text() == TEXT


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029", "\x1c", "\r", "\x0b"])
def test_no_character_breaks_the_history(rules: Path, sign: str) -> None:
    text = f"# a{sign}b\nreleases: {{}}\n"
    write(rules, text)
    store = write(rules)
    assert [change.text for change in asyncio.run(store.history(9))] == [TEXT, text]


def test_nothing_unfinished_is_left(rules: Path) -> None:
    write(rules)
    assert sorted(path.name for path in rules.parent.iterdir()) == [
        ".rules.yaml.lock",
        "rules.yaml",
        "rules.yaml.history.jsonl",
    ]
