"""Nacos' message on the wire, held against what protobuf makes of the same fields."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.errors import SourceError
from graymw.remote.nacos.payload import Payload, decode, encode

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)


def test_a_message_is_packed_as_protocol_buffers_pack_it() -> None:
    packed = encode(Payload("T", {"a": 1}, {"k": "v"}, "::1"))
    metadata = b"\x1a\x01T" + b"\x3a\x06\x0a\x01k\x12\x01v" + b"\x42\x03::1"
    body = b'\x12\x07{"a":1}'
    assert packed == b"\x12\x10" + metadata + b"\x1a\x09" + body


@given(kind=TEXTS.filter(bool), body=st.dictionaries(TEXTS, TEXTS | st.integers() | st.none(), max_size=5))
def test_what_is_packed_is_unpacked(kind: str, body: dict[str, object]) -> None:
    unpacked = decode(encode(Payload(kind, body, {"accessToken": "t" * 300})))
    assert (unpacked.type, unpacked.body) == (kind, body)


def test_fields_nobody_knows_are_passed_over() -> None:
    known = encode(Payload("T", {}))
    number, fixed64, fixed32, text = b"\x08\x96\x01", b"\x09" + bytes(8), b"\x0d" + bytes(4), b"\x7a\x01x"
    assert decode(number + fixed64 + known + fixed32 + text).type == "T"


def test_a_message_without_a_body_has_an_empty_one() -> None:
    assert decode(b"\x12\x03\x1a\x01T").body == {}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"HTTP/1.1 400 Bad Request",
        b"\x12\x7f",
        b"\x12\x03\x1a\x01T\x1a\x04\x12\x02[]"[:-1],
        encode(Payload("T", {}))[:-1],
        b"\xff" * 20,
        b"\x12\x03\x1a\x01T\x1a\x05\x12\x03[1]",
        b"\x12\x03\x1a\x01\xff",
    ],
)
def test_what_is_no_message_is_told_in_a_sentence(message: bytes) -> None:
    with pytest.raises(SourceError, match="no message of Nacos; check"):
        decode(message)


@given(st.binary(max_size=100))
def test_no_bytes_break_it_otherwise(message: bytes) -> None:
    with contextlib.suppress(SourceError):
        decode(message)


def test_credentials_are_not_shown() -> None:
    assert "t0ken" not in repr(Payload("T", {}, {"accessToken": "t0ken"}))
