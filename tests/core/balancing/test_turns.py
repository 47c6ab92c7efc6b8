from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from graymw.core.balancing.turns import MAX_TURNS, interleaved
from graymw.core.instances import Instance


def instance(port: int, weight: int = 1) -> Instance:
    return Instance("orders", "10.0.0.1", port, "v1", weight)


def members(weights: list[int]) -> list[Instance]:
    return [instance(port, weight) for port, weight in enumerate(weights, 1)]


def test_equal_weights_take_one_turn_each_in_order() -> None:
    assert interleaved(members([7, 7])) == (instance(1, 7), instance(2, 7))


def test_a_heavy_instance_does_not_take_its_turns_in_a_row() -> None:
    heavy, light, third = members([4, 2, 1])
    turns = interleaved([heavy, light, third])
    assert Counter(turns) == {heavy: 4, light: 2, third: 1}
    assert all(turns[place : place + 3] != (heavy,) * 3 for place in range(len(turns)))


def test_nobody_has_no_turns() -> None:
    assert interleaved([]) == ()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_turns_are_proportional_to_weights(weights: list[int]) -> None:
    found = members(weights)
    turns = Counter(interleaved(found))
    first = found[0]
    assert all(turns[one] * first.weight == turns[first] * one.weight for one in found)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_at_any_moment_nobody_is_two_turns_away_from_their_share(weights: list[int]) -> None:
    turns = interleaved(members(weights))
    total = sum(weights)
    taken: Counter[Instance] = Counter()
    for place, one in enumerate(turns, 1):
        taken[one] += 1
        assert abs(taken[one] - place * one.weight / total) < len(weights) / 2 + 1


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40))
def test_turns_are_bounded_and_nobody_is_left_out(weights: list[int]) -> None:
    found = members(weights)
    turns = interleaved(found)
    assert len(turns) <= MAX_TURNS
    assert set(turns) == set(found)


def test_weights_count_however_many_instances_there_are() -> None:
    found = members([1 + 9 * (port % 2) for port in range(2_000)])
    turns = Counter(interleaved(found))
    light, heavy = (sum(turns[one] for one in found if one.weight == weight) for weight in (1, 10))
    assert len(turns) == 2_000
    assert heavy > 3 * light
