"""Ranges of the bucket space."""

from __future__ import annotations

from dataclasses import dataclass

from graymw.core.model import SHARE_SCALE, Split


@dataclass(frozen=True, slots=True)
class Range:
    """Buckets below ``bound`` that no earlier range holds go to ``version``."""

    bound: int
    version: str


def ranges(split: Split, stable: str) -> tuple[Range, ...]:
    """Ranges that cover all buckets, in order and none empty; the rest is on ``stable``."""
    found: list[Range] = []
    bound = 0
    for version, share in (*split.shares, (stable, SHARE_SCALE)):
        reached = min(bound + share, SHARE_SCALE)
        if reached > bound:
            found.append(Range(reached, version))
        bound = reached
    return tuple(found)


def version_of(split_ranges: tuple[Range, ...], bucket: int) -> str:
    """Version that a bucket falls to."""
    return next(found.version for found in split_ranges if bucket < found.bound)
