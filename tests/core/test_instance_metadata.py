from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core import names
from graymw.core.instance_metadata import MAX_WEIGHT, instance_from_metadata, metadata_of
from graymw.core.instances import Instance, InstanceTable


def read(metadata: dict[str, object], weight: float | None = None) -> Instance:
    return instance_from_metadata("orders", "10.0.0.1", 80, metadata, weight=weight)


VALUES = st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.text(), max_size=2)


@given(
    metadata=st.dictionaries(st.sampled_from(["version", "weight", "zone", "gray", "tls", "rack"]), VALUES),
    weight=st.none() | st.floats() | st.integers(),
)
def test_whatever_a_registry_holds_makes_an_instance(metadata: dict[str, object], weight: float | None) -> None:
    instance = read(metadata, weight)
    assert instance.version == "" or names.is_version(instance.version)
    assert 0 <= instance.weight <= MAX_WEIGHT
    assert instance.zone.isprintable()
    assert read(dict(metadata_of(instance))) == instance


@pytest.mark.parametrize("weight", [10**400, -(10**400), math.inf, math.nan])
def test_no_weight_is_too_large_to_be_read(weight: float) -> None:
    assert read({}, weight).weight in (1, MAX_WEIGHT)


@pytest.mark.parametrize("written", ["v2+build.7", "v1 beta", "v\uff11", "+v1", "v1" + "x" * 100, "v1\r\nx", "é", "@"])
def test_an_instance_whose_label_is_none_is_not_taken_for_a_stable_one(written: str) -> None:
    instance = read({"version": written})
    assert names.is_version(instance.version)
    assert not InstanceTable([instance]).stable("v1")
    assert InstanceTable([instance]).open


@pytest.mark.parametrize("written", ["", "  ", None])
def test_an_instance_without_a_label_is_a_stable_one(written: str | None) -> None:
    assert InstanceTable([read({"version": written})]).stable("v1")


@pytest.mark.parametrize("zone", ["a\r\nb", "\x1b[2J", "z" * 500])
def test_a_zone_that_no_zone_is_called_is_none(zone: str) -> None:
    assert read({"zone": zone}).zone == ""


def test_a_value_that_is_too_long_to_be_told_is_empty() -> None:
    tree: list[object] = []
    for _ in range(100_000):
        tree = [tree]
    assert read({"rack": tree, "row": 10**5_000, "version": "v1"}).metadata == {"rack": "", "row": ""}
