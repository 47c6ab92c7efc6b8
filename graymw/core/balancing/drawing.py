"""Weighted drawing in constant time: the alias method (Walker 1977; built as in Vose 1991)."""

from __future__ import annotations

from collections.abc import Sequence

from graymw.core.instances import Instance


class Urn:
    """Instances to draw from, each as often as its weight says.

    Args:
        instances: At least one, of weights above 0.
    """

    __slots__ = ("_columns", "_count")

    def __init__(self, instances: Sequence[Instance]) -> None:
        thresholds, aliases = _aliased([instance.weight for instance in instances])
        self._count = len(instances)
        self._columns = [
            (threshold, own, instances[alias])
            for threshold, own, alias in zip(thresholds, instances, aliases, strict=True)
        ]

    def draw(self, number: float) -> Instance:
        """The one that a random number in [0, 1) stands for."""
        scaled = number * self._count
        column = int(scaled)
        threshold, own, other = self._columns[column]
        return own if scaled - column < threshold else other


def _aliased(weights: Sequence[int]) -> tuple[list[float], list[int]]:
    """For each column, up to where it stands for itself, and for whom it stands above that."""
    count, total = len(weights), sum(weights)
    shares = [weight * count / total for weight in weights]
    aliases = list(range(count))
    small = [column for column, share in enumerate(shares) if share < 1]
    large = [column for column, share in enumerate(shares) if share >= 1]
    while small and large:
        poor, rich = small.pop(), large[-1]
        aliases[poor] = rich
        shares[rich] -= 1 - shares[poor]
        if shares[rich] < 1:
            small.append(large.pop())
    for column in (*small, *large):  # what rounding left over
        shares[column] = 1.0
    return shares, aliases
