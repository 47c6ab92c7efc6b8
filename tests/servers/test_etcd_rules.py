"""Rules in etcd, read and written, on real servers of both release lines."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_etcd import PASSWORD, PROGRAMS, USER, Etcd

from graymw.errors import ConflictError, SettingsError, SourceError
from graymw.runtime.ports import Change, Fetched
from graymw.settings.access import Access
from graymw.sources.etcd import EtcdSource
from graymw.sources.etcd_store import EtcdStore

KEY = "graymw/rules.yaml"


def url(etcd: Etcd, key: str = KEY) -> str:
    return f"etcd://127.0.0.1:{etcd.port}/{key}"


def load(etcd: Etcd, key: str = KEY) -> Fetched:
    return asyncio.run(EtcdSource(url(etcd, key), Access()).load())


def change(text: str, number: int = 1) -> Change:
    return Change(text, "9f3c2a11", 1.5 * number, "ann", f"set {number}", "é")


@pytest.mark.parametrize(
    ("written", "key", "format_"),
    [
        ("graymw/rules.yaml", "graymw/rules.yaml", "yaml"),
        ("/graymw/rules.json", "/graymw/rules.json", "json"),
        ("rules%20of%20all.TOML", "rules of all.TOML", "toml"),
        ("rules", "rules", None),
    ],
)
def test_the_url_names_the_key_and_its_ending_the_format(
    etcd: Etcd, written: str, key: str, format_: str | None
) -> None:
    etcd.put(key, "a: é")
    fetched = load(etcd, written)
    assert (fetched.text, fetched.format) == ("a: é".encode(), format_)
    assert fetched.version == (etcd.get(key) or {})["mod_revision"]


def test_an_empty_document_is_a_document(etcd: Etcd) -> None:
    etcd.put(KEY, "")
    assert load(etcd).text == b""


@pytest.mark.parametrize("key", ["", "folder/", "x?lease=1"])
def test_a_url_that_names_no_key_is_refused(key: str) -> None:
    with pytest.raises(SettingsError, match=r"it names no key; write it like etcd://|there is no parameter lease"):
        EtcdSource(f"etcd://127.0.0.1:2379/{key}", Access())


def test_what_happened_while_the_history_was_compacted_is_seen(etcd: Etcd) -> None:
    etcd.put(KEY, "a")

    async def run() -> None:
        changes = EtcdSource(url(etcd), Access()).watch()
        assert (await anext(changes)).text == b"a"
        etcd.put(KEY, "b")
        etcd.put(KEY, "c")
        etcd.compact()
        assert (await asyncio.wait_for(anext(changes), 10)).text == b"c"
        await changes.aclose()

    asyncio.run(run())


def test_who_writes_the_same_again_changes_nothing(etcd: Etcd) -> None:
    etcd.put(KEY, "a")

    async def run() -> None:
        changes = EtcdSource(url(etcd), Access()).watch()
        await anext(changes)
        etcd.put(KEY, "a")
        etcd.put(KEY, "b")
        assert (await asyncio.wait_for(anext(changes), 10)).text == b"b"
        await changes.aclose()

    asyncio.run(run())


def test_a_change_can_be_read_beside_the_document_by_other_tools(etcd: Etcd) -> None:
    store = EtcdStore(url(etcd), Access())
    asyncio.run(store.write(change("a: 1"), expected=""))
    (entry,) = etcd.keys(f"{KEY}.history/")
    told = etcd.get(entry)
    assert told is not None
    assert json.loads(told["value"]) == {
        "text": "a: 1", "revision": "9f3c2a11", "at": 1.5, "who": "ann", "what": "set 1", "why": "é",
    }  # fmt: skip
    assert (etcd.get(KEY) or {})["mod_revision"] == told["mod_revision"]  # one transaction


def test_long_documents_fit_with_their_history_and_take_bounded_room(etcd: Etcd) -> None:
    """Random hexadecimal digits are halved by compression; rules by far more."""
    store = EtcdStore(url(etcd), Access())

    async def run() -> None:
        for number in range(36):
            text = random.Random(number).randbytes(480_000).hex()
            await store.write(change(text, number), expected=(await store.read()).version)
        history = await store.history(100)
        assert [each.what for each in history[:20]] == [f"set {number}" for number in range(35, 15, -1)]
        assert history[0].text == text
        assert sum(len(gzip.compress(each.text.encode())) for each in history) <= 17 * 1024 * 1024
        assert len(history) < 36

    asyncio.run(run())


def test_a_document_that_is_too_long_is_told(etcd: Etcd) -> None:
    store = EtcdStore(url(etcd), Access())
    with pytest.raises(SourceError, match=r"has 1600000 bytes, too many with its history; etcd takes 1\.5 MiB"):
        asyncio.run(store.write(change("x" * 1_600_000), expected=""))
    assert etcd.keys("graymw/") == []


def test_what_another_hand_wrote_into_the_history_is_passed_over(etcd: Etcd) -> None:
    store = EtcdStore(url(etcd), Access())
    asyncio.run(store.write(change("a: 1"), expected=""))
    for number, strange in enumerate([b"", b"note", b"[]", b'{"text": 1}', b"\x1f\x8bbroken", b"\xff"]):
        etcd.put(f"{KEY}.history/zz{number}", strange)
    assert asyncio.run(store.history(10)) == [change("a: 1")]


def test_a_key_that_came_back_is_another_one(etcd: Etcd) -> None:
    """Its version may be the same count, never the same revision."""
    store = EtcdStore(url(etcd), Access())

    async def run() -> None:
        await store.write(change("a: 1", 1), expected="")
        first = await store.read()
        etcd.delete(KEY)
        await store.write(change("a: 1", 2), expected="")
        with pytest.raises(ConflictError):
            await store.write(change("a: 2", 3), expected=first.version)
        assert [each.what for each in await store.history(10)] == ["set 2", "set 1"]

    asyncio.run(run())


@pytest.fixture
def readable(etcd_version: str, tmp_path: Path) -> Iterator[Etcd]:
    """Where the user may read, and no more."""
    server = Etcd(PROGRAMS[etcd_version](), tmp_path).start()
    server.put(KEY, "a: 1")
    server.require_users("graymw/", permission="READ")
    yield server
    server.stop()


def test_who_may_only_read_is_told_when_writing(readable: Etcd) -> None:
    access = Access(user=USER, password=PASSWORD)
    store = EtcdStore(url(readable), access)
    version = asyncio.run(store.read()).version
    with pytest.raises(SourceError, match=r"etcd denies user 'gray' the transaction; grant its role the permission"):
        asyncio.run(store.write(change("a: 2"), expected=version))
    assert asyncio.run(EtcdSource(url(readable), access).load()).text == b"a: 1"
