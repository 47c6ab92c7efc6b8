"""The bucket of a key: what Envoy's weighted clusters and HAProxy compute natively. It never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from xxhash import xxh64_intdigest

from graymw.core.model import SHARE_SCALE


def bucket(seed: str, key: str) -> int:
    """Bucket of ``key``, 0 to 9999: ``xxh64(seed + ":" + key, seed 0) mod 10000`` over UTF-8 bytes.

    Total: text that came from undecodable bytes (``surrogateescape``) counts as those bytes, as a proxy sees them.
    """
    return xxh64_intdigest(encoded(f"{seed}:{key}")) % SHARE_SCALE


hash64: Final[Callable[..., int]] = xxh64_intdigest
"""xxh64 of bytes, with a ``seed`` where one is given, as 64 bits without a sign."""


def digest(text: str, seed: int = 0) -> int:
    """xxh64 of a text."""
    return xxh64_intdigest(encoded(text), seed=seed)


def encoded(text: str) -> bytes:
    """UTF-8 bytes of ``text``; escaped bytes as they were, any other lone surrogate as its three bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
