"""What the gateway says and is told, as values (etcd, ``rpc.proto``; the proto3 JSON mapping)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, TypeAlias

from graymw.errors import SourceError

Json: TypeAlias = Mapping[str, Any]

EVERYTHING: Final = b"\0"
"""As key and as end of a range: all keys there are."""


class Code(IntEnum):
    """gRPC status codes that mean something here."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    FAILED_PRECONDITION = 9
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class RefusedError(SourceError):
    """The server answered with an error.

    Attributes:
        status: gRPC code; 0 where the answer held none.
        told: What the server said.
    """

    def __init__(self, status: int, told: str, sentence: str = "") -> None:
        self.status = status
        self.told = told
        super().__init__(sentence or f"etcd refuses: {told or f'code {status}'}")


@dataclass(frozen=True, slots=True)
class KeyRange:
    """One key, or all keys from it up to and without ``end``."""

    key: bytes
    end: bytes = b""

    @classmethod
    def prefix(cls, prefix: bytes) -> KeyRange:
        """All keys that begin so."""
        stem = prefix.rstrip(b"\xff")
        if not stem:
            return cls(prefix or EVERYTHING, EVERYTHING)
        return cls(prefix, stem[:-1] + bytes([stem[-1] + 1]))

    @property
    def json(self) -> dict[str, Any]:
        """As requests hold it."""
        return {"key": encoded(self.key), **({"range_end": encoded(self.end)} if self.end else {})}

    @property
    def shown(self) -> str:
        """For people."""
        told = self.key.decode("utf-8", "backslashreplace") if self.key != EVERYTHING else ""
        return f"keys that begin with {told!r}" if self.end else f"key {told!r}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it stands.

    Attributes:
        mod_revision: The store's revision at its last change.
        lease: What it hangs on; 0: nothing.
    """

    key: bytes
    value: bytes = field(repr=False)
    mod_revision: int = 0
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a range held at one revision of the store."""

    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class WatchMessage:
    """One message of a watch.

    Attributes:
        revision: Of the store when it was sent.
        created: Whether the watch has begun with it.
        canceled: Whether the watch has ended with it; the stream stays open all the same.
        compact_revision: Where it ended because the history asked for is gone: what is left of it begins here.
        reason: Why it ended.
        changes: Entries by key; None where the key is gone. In the order of their revisions.
        last_revision: Of the last change in it; 0 without one.
    """

    revision: int
    created: bool
    canceled: bool
    compact_revision: int
    reason: str
    changes: Mapping[bytes, Entry | None]
    last_revision: int


def encoded(text: bytes) -> str:
    """Bytes as the gateway takes them."""
    return base64.b64encode(text).decode("ascii")


def snapshot(answer: Json) -> Snapshot:
    """The answer to a range request."""
    header = answer.get("header", {})
    entries = tuple(_entry(found) for found in answer.get("kvs", ()))
    return Snapshot(number(header, "revision"), entries)


def watch_message(line: bytes) -> WatchMessage:
    """One line of a watch.

    Raises:
        RefusedError: The stream ends with an error.
        SourceError: It is no such line.
    """
    with_result = decoded(line)
    if "error" in with_result:
        raise refusal(with_result["error"])
    try:
        return _watch_message(with_result["result"])
    except MISREAD as error:
        raise unreadable(line) from error


def _watch_message(result: Json) -> WatchMessage:
    header = result.get("header", {})
    changes: dict[bytes, Entry | None] = {}
    last = 0
    for event in result.get("events", ()):
        entry = _entry(event["kv"])
        changes[entry.key] = None if event.get("type") in ("DELETE", 1) else entry
        last = max(last, entry.mod_revision)
    return WatchMessage(
        revision=number(header, "revision"),
        created=bool(result.get("created")),
        canceled=bool(result.get("canceled")),
        compact_revision=number(result, "compact_revision"),
        reason=str(result.get("cancel_reason", "")),
        changes=changes,
        last_revision=last,
    )


def _entry(found: Json) -> Entry:
    return Entry(
        key=base64.b64decode(found["key"]),
        value=base64.b64decode(found.get("value", "")),
        mod_revision=number(found, "mod_revision"),
        lease=number(found, "lease"),
    )


def number(found: Json, name: str) -> int:
    """A 64-bit number, which is a string or, where it is zero, not there."""
    return int(found.get(name, 0))


def decoded(content: bytes) -> Json:
    """An answer as a mapping.

    Raises:
        SourceError: It is no JSON object.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise unreadable(content)
    return found


def refusal(error: object) -> RefusedError:
    """The error of an answer, or of a line of a stream, which has ``grpc_code`` instead of ``code``."""
    if not isinstance(error, Mapping):
        return RefusedError(0, str(error))
    code = error.get("code", error.get("grpc_code", 0))
    told = str(error.get("message") or error.get("error") or "")
    return RefusedError(code if isinstance(code, int) else 0, told)


def refusal_of(content: bytes) -> RefusedError:
    """The error of an answer that is none of success.

    Raises:
        SourceError: It is no answer of etcd's.
    """
    if content.startswith(_COMMON_NAME):
        return RefusedError(0, content.decode("utf-8", "replace"))
    return refusal(decoded(content))


_COMMON_NAME: Final = b"CommonName of client"
"""The one refusal that is no JSON."""


def unreadable(content: bytes) -> SourceError:
    """What to say of an answer that etcd does not give."""
    begins = " ".join(content[:100].decode("utf-8", "replace").split())
    return SourceError(
        f"the answer is none of etcd's ({begins or 'empty'}); "
        "name the client port, 2379 by default, of an etcd 3.4 or later that has enable-grpc-gateway, "
        "and +https in the scheme if it speaks TLS"
    )


MISREAD: Final = (AttributeError, KeyError, TypeError, ValueError, binascii.Error)
"""What reading a message of another shape raises."""
