from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graymw.core.balancing import ring
from graymw.core.balancing.ring import Ring
from graymw.core.instances import Instance

KEYS = [f"user-{number}" for number in range(200)]


def instance(port: int, weight: int = 1) -> Instance:
    return Instance("orders", "10.0.0.1", port, "v1", weight)


ports = st.lists(st.integers(1, 65_535), min_size=2, max_size=20, unique=True)


@given(ports)
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_registry_does_not_matter(found: list[int]) -> None:
    one, other = Ring([instance(port) for port in found]), Ring([instance(port) for port in reversed(found)])
    assert all(one.find(key) == other.find(key) for key in KEYS)


@given(ports, st.lists(st.integers(1, 9), min_size=20, max_size=20))
@settings(deadline=None, max_examples=30)
def test_an_instance_that_leaves_moves_only_its_own_keys_and_one_that_comes_only_those_it_takes(
    found: list[int], weights: list[int]
) -> None:
    members = [instance(port, weight) for port, weight in zip(found, weights, strict=False)]
    leaving = min(members, key=lambda one: one.weight)
    members.append(heaviest := instance(70_000, 9))
    before, after = Ring(members), Ring([one for one in members if one != leaving])
    for key in KEYS:
        if before.find(key) != leaving:
            assert after.find(key) == before.find(key)
    assert heaviest in {after.find(key) for key in KEYS}


def test_everybody_gets_keys_by_weight() -> None:
    members = [instance(port, 1 + port % 2) for port in range(1, 11)]
    made = Ring(members)
    found = Counter(made.find(str(number)) for number in range(20_000))
    for one in members:
        assert found[one] / 20_000 == pytest.approx(one.weight / 15, rel=0.4)


def test_a_key_whose_instance_is_unfit_moves_on_and_keys_of_one_instance_spread() -> None:
    members = [instance(port) for port in range(1, 11)]
    made = Ring(members)
    lost = [key for key in KEYS if made.find(key) == members[0]]
    assert len({made.find(key, 1) for key in lost}) > 3
    assert all(made.find(key, 1) == made.find(key, 1) for key in lost)


def test_a_ring_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "MAX_POINTS", 1_000)
    members = [instance(port) for port in range(1, 2_001)]
    made = Ring(members)
    assert len(made._points) == 2_000
    assert made.find("x") in members


def test_any_text_is_a_key() -> None:
    made = Ring([instance(1), instance(2)])
    assert made.find("\udcff\ud800") in (instance(1), instance(2))
    assert made.find("") == made.find("")
