"""Buckets: the same number everywhere and for ever."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from graymw.core.bucketing import bucket
from graymw.core.model import SHARE_SCALE, Split
from graymw.core.shares import ranges, version_of

GOLDEN = Path(__file__).parent.parent / "golden" / "buckets.json"
VECTORS: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
KEYS = 100_000

shares = st.integers(0, SHARE_SCALE)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['seed']}:{vector['key'][:12]}")
def test_buckets_never_change(vector: dict[str, Any]) -> None:
    assert bucket(vector["seed"], vector["key"]) == vector["bucket"]


def test_every_process_computes_the_same_buckets() -> None:
    script = f"""
import json, pathlib
from graymw.core.bucketing import bucket
for v in json.loads(pathlib.Path({str(GOLDEN)!r}).read_text(encoding="utf-8")):
    assert bucket(v["seed"], v["key"]) == v["bucket"], v
"""
    for hash_seed in ("0", "1", "random"):
        subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed})


@given(st.text(), st.text())
def test_the_bucket_is_the_hash_of_seed_colon_key_in_utf_8(seed: str, key: str) -> None:
    assert bucket(seed, key) == xxh64_intdigest(f"{seed}:{key}".encode(), 0) % 10_000


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_any_text_has_a_bucket(seed: str, key: str) -> None:
    assert 0 <= bucket(seed, key) < SHARE_SCALE


@given(st.binary())
def test_undecodable_bytes_count_as_the_bytes_that_came_in(raw: bytes) -> None:
    key = raw.decode("utf-8", "surrogateescape")

    assert bucket("s", key) == xxh64_intdigest(b"s:" + raw) % 10_000


@given(st.integers(0, SHARE_SCALE - 1), shares, shares)
def test_raising_a_share_evicts_nobody(drawn: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    before = version_of(ranges(Split((("v2", low),)), "v1"), drawn)
    after = version_of(ranges(Split((("v2", high),)), "v1"), drawn)

    assert before == "v1" or after == "v2"


@given(st.integers(0, SHARE_SCALE - 2), st.integers(0, SHARE_SCALE))
def test_lowering_a_share_moves_out_those_who_came_last(drawn: int, share: int) -> None:
    split = ranges(Split((("v2", share),)), "v1")

    assert not (version_of(split, drawn + 1) == "v2" and version_of(split, drawn) == "v1")


@given(
    st.lists(
        st.tuples(st.sampled_from(["v2", "v3", "v4"]), st.integers(0, 3_333)), max_size=3, unique_by=lambda s: s[0]
    )
)
def test_ranges_cover_all_buckets_in_the_written_order(written: list[tuple[str, int]]) -> None:
    split = ranges(Split(tuple(written)), "v1")
    widths: dict[str, int] = {}
    previous = 0
    for found in split:
        assert found.bound > previous
        widths[found.version] = widths.get(found.version, 0) + found.bound - previous
        previous = found.bound

    assert previous == SHARE_SCALE
    assert {version: width for version, width in widths.items() if version != "v1"} == {v: s for v, s in written if s}


@pytest.mark.parametrize("form", ["user-{}", "{}", "{:032x}", "10.0.{}.1"])
@pytest.mark.parametrize("share", [25, 1_000, 5_000, 9_999])
def test_shares_lie_within_four_standard_deviations(form: str, share: int) -> None:
    inside = sum(bucket("checkout", form.format(number)) < share for number in range(KEYS))
    expected = KEYS * share / SHARE_SCALE
    deviation = math.sqrt(expected * (1 - share / SHARE_SCALE))

    assert abs(inside - expected) <= 4 * deviation


@pytest.mark.parametrize(("one", "other"), [("checkout", "payments"), ("rel-a", "rel-b"), ("x", "y")])
def test_two_seeds_are_independent(one: str, other: str) -> None:
    """Chi-square over a 10 x 10 table of deciles: 81 degrees of freedom, 1e-6 quantile 150."""
    table = Counter(
        (bucket(one, f"user-{number}") // 1_000, bucket(other, f"user-{number}") // 1_000) for number in range(KEYS)
    )
    expected = KEYS / 100
    statistic = sum((table[i, j] - expected) ** 2 / expected for i in range(10) for j in range(10))

    assert statistic < 150


def test_buckets_are_spread_evenly() -> None:
    """Chi-square over 100 cells: 99 degrees of freedom, 1e-6 quantile 174."""
    cells = Counter(bucket("checkout", str(number)) // 100 for number in range(KEYS))
    statistic = sum((cells[cell] - KEYS / 100) ** 2 / (KEYS / 100) for cell in range(100))

    assert statistic < 174
