"""The four ways to balance, each made once for a set of instances; a draw costs the same however many there are."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, Protocol, TypeAlias

from graymw.core.balancing.drawing import Urn
from graymw.core.balancing.ring import Ring
from graymw.core.balancing.turns import interleaved
from graymw.core.bucketing import digest
from graymw.core.instances import Instance
from graymw.runtime.loads import Loads
from graymw.settings.routing_values import Balancer

Draw: TypeAlias = Callable[[str | None, int], Instance]
"""One instance, by the key of the work at hand (None: it has none), and how many were drawn and not taken before."""

Chance: TypeAlias = Callable[[], float]
"""A random number in [0, 1)."""

_HASHES: Final = 2.0**64
_WARMTH: Final = 1_000_003
"""Seed for what a key is worth while an instance warms up; no place on a ring is asked for with it."""


class Balance(Protocol):
    """One way to balance."""

    def over(self, instances: Sequence[Instance]) -> Draw:
        """Draws from some instances, at least one, of weights above 0."""

    def number(self, key: str | None) -> float:
        """Number in [0, 1) that decides whether an instance that is warming up takes the call."""


class _Random:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def over(self, instances: Sequence[Instance]) -> Draw:
        chance, draw = self._chance, Urn(instances).draw
        return lambda _key, _attempt: draw(chance())

    def number(self, key: str | None) -> float:  # noqa: ARG002 - of the protocol
        return self._chance()


class _RoundRobin(_Random):
    """Weighted and smooth. Each process begins elsewhere, or all would begin with the same instance."""

    def over(self, instances: Sequence[Instance]) -> Draw:
        turns = interleaved(instances)
        rounds = len(turns)
        place = count(int(self._chance() * rounds))
        return lambda _key, _attempt: turns[next(place) % rounds]


class _LeastRequest(_Random):
    """Of two drawn by weight the one with fewer calls under way (Mitzenmacher 2001, the power of two choices)."""

    def __init__(self, chance: Chance, loads: Loads) -> None:
        super().__init__(chance)
        self._loads = loads

    def over(self, instances: Sequence[Instance]) -> Draw:
        chance, draw, load = self._chance, Urn(instances).draw, self._loads.of

        def lighter(_key: str | None, _attempt: int) -> Instance:
            one, other = draw(chance()), draw(chance())
            return other if load(other) < load(one) else one

        return lighter


class _Sticky(_Random):
    """Equal keys to the same instance; work without a key anywhere."""

    def over(self, instances: Sequence[Instance]) -> Draw:
        chance, find = self._chance, Ring(instances).find
        return lambda key, attempt: find(key if key is not None else str(chance()), attempt)

    def number(self, key: str | None) -> float:
        return super().number(key) if key is None else digest(key, _WARMTH) / _HASHES


def balance_by(balancer: Balancer, loads: Loads, chance: Chance = random.random) -> Balance:
    """The way to balance of a name.

    Args:
        loads: Calls under way, which ``least-request`` looks at.
    """
    if balancer == "random":
        return _Random(chance)
    if balancer == "least-request":
        return _LeastRequest(chance, loads)
    if balancer == "sticky":
        return _Sticky(chance)
    return _RoundRobin(chance)
