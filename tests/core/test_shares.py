"""Ranges of the bucket space."""

from __future__ import annotations

from graymw.core.model import Split
from graymw.core.shares import Range, ranges, version_of


def test_shares_are_drawn_from_zero_upward_and_the_rest_is_stable() -> None:
    split = ranges(Split((("v2", 1_000), ("v3", 25))), "v1")

    assert split == (Range(1_000, "v2"), Range(1_025, "v3"), Range(10_000, "v1"))
    assert [version_of(split, drawn) for drawn in (0, 999, 1_000, 1_024, 1_025, 9_999)] == [
        "v2", "v2", "v3", "v3", "v1", "v1",
    ]  # fmt: skip


def test_empty_shares_have_no_range() -> None:
    assert ranges(Split((("v2", 0), ("v3", 10_000))), "v1") == (Range(10_000, "v3"),)


def test_shares_beyond_the_whole_are_cut() -> None:
    assert ranges(Split((("v2", 9_000), ("v3", 9_000))), "v1") == (Range(9_000, "v2"), Range(10_000, "v3"))
