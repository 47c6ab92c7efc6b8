from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.errors import SourceError
from graymw.remote.etcd.messages import (
    EVERYTHING,
    Code,
    Entry,
    KeyRange,
    RefusedError,
    encoded,
    refusal_of,
    snapshot,
    watch_message,
)


def line(**result: object) -> bytes:
    return json.dumps({"result": result}).encode()


@given(prefix=st.binary(min_size=1, max_size=6), key=st.binary(min_size=1, max_size=8))
def test_a_prefix_is_a_range_of_the_keys_that_begin_so(prefix: bytes, key: bytes) -> None:
    keys = KeyRange.prefix(prefix)
    within = key >= keys.key and (keys.end == EVERYTHING or key < keys.end)
    assert within == key.startswith(prefix)


def test_no_prefix_is_all_keys() -> None:
    assert KeyRange.prefix(b"") == KeyRange(EVERYTHING, EVERYTHING)


def test_one_key_has_no_end() -> None:
    assert KeyRange(b"a").json == {"key": "YQ=="}


def test_numbers_are_strings_and_what_is_zero_or_empty_is_not_there() -> None:
    found = snapshot({"header": {"revision": "9007199254740993"}, "kvs": [{"key": encoded(b"k")}]})
    assert found.revision == 9_007_199_254_740_993
    assert found.entries == (Entry(b"k", b""),)


def test_an_empty_range_has_no_entries() -> None:
    assert snapshot({"header": {"revision": "7"}}).entries == ()


def test_a_put_has_no_type_and_a_deletion_has() -> None:
    put = {"kv": {"key": encoded(b"a"), "value": encoded(b"1"), "mod_revision": "4", "lease": "77"}}
    gone = {"type": "DELETE", "kv": {"key": encoded(b"b"), "mod_revision": "5"}}
    message = watch_message(line(header={"revision": "5"}, events=[put, gone]))
    assert message.changes == {b"a": Entry(b"a", b"1", mod_revision=4, lease=77), b"b": None}
    assert message.last_revision == 5


def test_of_several_changes_of_one_key_the_last_counts() -> None:
    events = [{"kv": {"key": encoded(b"a"), "value": encoded(value), "mod_revision": "1"}} for value in (b"1", b"2")]
    assert watch_message(line(events=events)).changes == {b"a": Entry(b"a", b"2", mod_revision=1)}


def test_a_compacted_watch_says_where_the_history_begins() -> None:
    message = watch_message(line(header={}, canceled=True, compact_revision="12"))
    assert (message.canceled, message.compact_revision) == (True, 12)


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (b'{"error":"etcdserver: x","message":"etcdserver: x","code":5}', 5, "etcdserver: x"),
        (b'{"code":5,"message":"etcdserver: x"}', 5, "etcdserver: x"),
        (b'{"error":"only this"}', 0, "only this"),
        (b'{"code":"five"}', 0, ""),
    ],
)
def test_errors_of_answers_in_the_shapes_of_several_releases(content: bytes, code: int, told: str) -> None:
    error = refusal_of(content)
    assert (error.status, error.told) == (code, told)


def test_an_error_within_a_stream_has_a_code_of_another_name() -> None:
    with pytest.raises(RefusedError, match="transport is closing") as raised:
        watch_message(b'{"error":{"grpc_code":14,"http_code":503,"message":"transport is closing"}}')
    assert raised.value.status == Code.UNAVAILABLE


def test_the_one_refusal_that_is_no_json() -> None:
    assert "CommonName" in refusal_of(b"CommonName of client sending a request against gateway will be ignored").told


@pytest.mark.parametrize("content", [b"<html>", b"", b"[]", b"404 page not found", b"\xff", b"[" * 100_000])
def test_what_is_none_of_etcds_is_told_with_the_mend(content: bytes) -> None:
    with pytest.raises(SourceError, match="name the client port, 2379 by default"):
        refusal_of(content)


@given(content=st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["result", "error", "header", "events", "kv", "key", "revision", "code"]), inner, max_size=3
    ),
    max_leaves=8,
).map(lambda value: json.dumps({"result": value}).encode()))  # fmt: skip
def test_no_line_of_a_watch_raises_anything_else(content: bytes) -> None:
    with contextlib.suppress(SourceError):
        watch_message(content)
