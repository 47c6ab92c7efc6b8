from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from graymw.core.balancing.drawing import Urn
from graymw.core.instances import Instance


def members(weights: list[int]) -> list[Instance]:
    return [Instance("orders", "10.0.0.1", port, "v1", weight) for port, weight in enumerate(weights, 1)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_over_all_numbers_everybody_is_drawn_by_weight(weights: list[int]) -> None:
    found, steps = members(weights), 20_000
    urn = Urn(found)
    drawn = Counter(urn.draw((step + 0.5) / steps) for step in range(steps))
    for one in found:
        assert abs(drawn[one] / steps - one.weight / sum(weights)) < len(weights) / steps * 2


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40), st.floats(0, 1, exclude_max=True))
def test_any_number_draws_somebody(weights: list[int], number: float) -> None:
    found = members(weights)
    assert Urn(found).draw(number) in found
