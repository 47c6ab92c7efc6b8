"""A change as a history keeps it: JSON, compressed where it is long."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zlib
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
        return Change(**json.loads(plain))
    return None
