"""Nacos' one message: a type, headers and JSON, packed as Protocol Buffers.

Written by hand, since a whole library for three nested fields would bring its own version trouble into applications.
Source: ``nacos_grpc_service.proto`` of Nacos; the encoding is that of protobuf.dev, "Encoding".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graymw.errors import SourceError

_METADATA: Final = 2
_BODY: Final = 3
_TYPE: Final = 3
_HEADERS: Final = 7
_CLIENT_IP: Final = 8
_KEY: Final = 1
_VALUE: Final = 2

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class Payload:
    """One message.

    Attributes:
        type: Name of the request or response, such as ``ServerCheckRequest``.
        body: Its fields.
        headers: Credentials and alike.
        client_ip: Address of the sender, as it knows it.
    """

    type: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    client_ip: str = ""


def encode(payload: Payload) -> bytes:
    """The message as it goes over the wire."""
    metadata = _entry(_TYPE, payload.type.encode())
    for key, value in payload.headers.items():
        metadata += _entry(_HEADERS, _entry(_KEY, key.encode()) + _entry(_VALUE, value.encode()))
    if payload.client_ip:
        metadata += _entry(_CLIENT_IP, payload.client_ip.encode())
    body = json.dumps(payload.body, ensure_ascii=False, separators=(",", ":")).encode()
    return _entry(_METADATA, metadata) + _entry(_BODY, _entry(_VALUE, body))


def decode(message: bytes) -> Payload:
    """The message as it came over the wire.

    Raises:
        SourceError: It is none.
    """
    try:
        outer = dict(_entries(message))
        metadata = dict(_entries(outer[_METADATA]))
        content = dict(_entries(outer.get(_BODY, b""))).get(_VALUE, b"")
        body = json.loads(content) if content else {}
        return Payload(metadata[_TYPE].decode(), dict(body))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise SourceError("the answer is no message of Nacos; check that its gRPC port is what listens there") from None


def _entry(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _entries(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of the fields that have bytes; others are passed over."""
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        kind = key & 7
        if kind == _BYTES:
            length, position = _read_varint(message, position)
            if position + length > len(message):
                raise ValueError(length)
            yield key >> 3, message[position : position + length]
            position += length
        elif kind == _VARINT:
            _, position = _read_varint(message, position)
        else:
            position += _FIXED[kind]


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError(number)
