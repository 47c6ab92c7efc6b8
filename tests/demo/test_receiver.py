from __future__ import annotations

import gzip
import socket
from collections.abc import Mapping

import httpx
import pytest

from graymw.demo.receiver import Receiver
from graymw.demo.spans import SpanStore

from .making import PROTOBUF, request_with


def post(receiver: Receiver, body: bytes, headers: Mapping[str, str] = PROTOBUF, path: str = "/v1/traces") -> int:
    return httpx.post(receiver.url + path, content=body, headers=dict(headers), trust_env=False).status_code


def test_a_compressed_request_is_read(receiver: Receiver, store: SpanStore) -> None:
    body = gzip.compress(request_with(b"a" * 16))
    assert post(receiver, body, {**PROTOBUF, "content-encoding": "gzip"}) == 200
    assert len(store.trace((b"a" * 16).hex())) == 1


@pytest.mark.parametrize(
    ("body", "headers", "path", "status"),
    [
        (b"\xff\xff", PROTOBUF, "/v1/traces", 400),
        (b"no gzip", {**PROTOBUF, "content-encoding": "gzip"}, "/v1/traces", 400),
        (b"{}", {"content-type": "application/json"}, "/v1/traces", 415),
        (b"", PROTOBUF, "/v1/metrics", 404),
    ],
)
def test_what_it_cannot_read_it_refuses(
    receiver: Receiver, body: bytes, headers: Mapping[str, str], path: str, status: int
) -> None:
    assert post(receiver, body, headers, path) == status


def test_a_bomb_is_not_inflated(receiver: Receiver) -> None:
    body = gzip.compress(bytes(33 * 1024 * 1024))
    assert post(receiver, body, {**PROTOBUF, "content-encoding": "gzip"}) == 413


def test_a_body_without_a_length_is_refused(receiver: Receiver) -> None:
    port = int(receiver.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 411")


def test_a_request_is_handed_on_unchanged_before_its_spans_are_seen(store: SpanStore) -> None:
    body = gzip.compress(request_with(b"b" * 16))
    seen: list[tuple[bytes, Mapping[str, str], int]] = []
    trace_id = (b"b" * 16).hex()
    with Receiver(store, lambda *taken: seen.append((*taken, len(store.trace(trace_id))))) as receiver:
        assert post(receiver, body, {**PROTOBUF, "content-encoding": "gzip"}) == 200
        assert post(receiver, b"\xff\xff") == 400
    assert seen == [(body, {**PROTOBUF, "content-encoding": "gzip"}, 0)]


def test_nothing_listens_afterwards(store: SpanStore) -> None:
    with Receiver(store) as receiver:
        port = int(receiver.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
