"""Consistent hashing (Karger et al. 1997): equal keys meet the same instance, in every process.

An instance stands on the ring at points that only its own address and weight make, so one that comes or goes moves
only the keys it takes or leaves. Maglev's tables share more evenly, but move some keys of the others as well, and take
long to build where nothing but Python builds them.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import Final

from graymw.core.bucketing import digest
from graymw.core.instances import Instance

POINTS: Final = 128
"""Points of the heaviest instance; keys are then shared to within some 10 %."""

MAX_POINTS: Final = 250_000
"""Points of a whole ring, at most: of more instances than fit each has fewer, at least one."""


class Ring:
    """Instances on a ring.

    Args:
        instances: At least one, of weights above 0.
    """

    __slots__ = ("_owners", "_points")

    def __init__(self, instances: Sequence[Instance]) -> None:
        heaviest = max(instance.weight for instance in instances)
        most = max(1, min(POINTS, MAX_POINTS // len(instances)))
        placed = sorted(
            (digest(f"{instance.authority}#{point}"), place)
            for place, instance in enumerate(instances)
            for point in range(max(1, round(most * instance.weight / heaviest)))
        )
        known = tuple(instances)
        self._points = [point for point, _ in placed]
        self._owners = [known[place] for _, place in placed]

    def find(self, key: str, attempt: int = 0) -> Instance:
        """The instance of a key.

        Args:
            attempt: How many were found unfit before: each leads to another place, the same for equal keys.
        """
        point = digest(key, attempt)
        return self._owners[bisect(self._points, point) % len(self._owners)]
