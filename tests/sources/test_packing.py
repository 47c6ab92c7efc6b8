from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.runtime.ports import Change
from graymw.sources import packing
from graymw.sources.packing import packed, unpacked

CHANGE = Change("schema: 1\n# é\n", "9f3c2a11", 1_700_000_000.5, "ann", "publish rules.yaml", "a reason")


def test_a_change_comes_back_as_it_was() -> None:
    assert unpacked(packed(CHANGE)) == CHANGE
    assert packed(CHANGE).startswith(b"{")


def test_a_long_one_is_compressed() -> None:
    long = Change("# é\n" * packing.PLAIN_BYTES, "9f3c2a11", 1.0, "ann", "publish")
    assert len(packed(long)) < packing.PLAIN_BYTES
    assert unpacked(packed(long)) == long


def test_either_way_of_compressing_is_read() -> None:
    plain = packed(CHANGE)
    assert unpacked(zlib.compress(plain)) == unpacked(gzip.compress(plain)) == CHANGE


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b'{"text": 1', b'{"strange": 1}', zlib.compress(b"x")[:-1]]
)
def test_what_another_hand_wrote_is_passed_over(content: bytes) -> None:
    assert unpacked(content) is None


@pytest.mark.parametrize(
    "field", [{"at": "soon"}, {"at": True}, {"at": -1}, {"at": 1e300}, {"revision": 7}, {"text": None}, {"who": ["a"]}]
)
def test_a_change_whose_fields_are_none_of_a_change_is_passed_over(field: dict[str, object]) -> None:
    assert unpacked(json.dumps({**json.loads(packed(CHANGE)), **field}).encode()) is None


@given(st.binary(max_size=64))
def test_no_bytes_raise(content: bytes) -> None:
    unpacked(content)


def test_no_bytes_unpack_to_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_BYTES", 100)
    assert unpacked(zlib.compress(b'{"text": "' + b"x" * 10_000)) is None
