"""A change as a history keeps it: JSON, compressed where it is long."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import Final

from graymw.runtime.ports import Change

PLAIN_BYTES: Final = 65_536
"""Longer changes are compressed."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""No change unpacks to more: somebody else may have written there."""

_ANY_HEADER: Final = 47
"""Of zlib or gzip, whichever it has."""


def packed(change: Change) -> bytes:
    """Bytes that stand for a change."""
    told = json.dumps(dataclasses.asdict(change), ensure_ascii=False).encode()
    return told if len(told) <= PLAIN_BYTES else zlib.compress(told, 9)


def unpacked(content: bytes) -> Change | None:
    """The change that bytes stand for; None where another hand wrote them."""
    with contextlib.suppress(ValueError, TypeError, RecursionError, zlib.error):
        plain = content if content.startswith(b"{") else zlib.decompressobj(_ANY_HEADER).decompress(content, MAX_BYTES)
        return change_told(plain)
    return None


def change_told(text: str | bytes) -> Change:
    """The change that JSON tells of.

    Raises:
        ValueError: It tells of none; somebody else may have written it.
    """
    told = json.loads(text)
    if not isinstance(told, Mapping) or told.keys() != _FIELDS.keys():
        raise ValueError("it has other fields than a change")
    at = told["at"]
    if not all(isinstance(told[name], str) for name, kind in _FIELDS.items() if kind == "str"):
        raise ValueError("a field of it is no text")
    if type(at) not in (int, float) or not 0 <= at < _END_OF_TIME:
        raise ValueError("its time is none")
    return Change(**told)


_FIELDS: Final = {field.name: field.type for field in dataclasses.fields(Change)}
_END_OF_TIME: Final = 253_402_214_400
"""Seconds to the last day of the year 9999, beyond which no calendar here goes."""
