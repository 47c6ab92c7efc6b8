"""Consistent hashing (Karger et al. 1997): equal keys meet the same instance, in every process.

An instance stands on the ring at points that only its own address and weight make, so one that comes or goes moves
only the keys it takes or leaves. Maglev's tables share more evenly, but move some keys of the others as well, and take
long to build where nothing but Python builds them.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import Final

from graymw.core.bucketing import digest, hash64
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
        known = tuple(instances)
        heaviest = max(instance.weight for instance in known)
        most = max(1, min(POINTS, MAX_POINTS // len(known)))
        bits = len(known).bit_length()
        points: list[int] = []  # whose owner stands in the last bits: whole numbers are sorted fastest
        for place, instance in enumerate(known):
            address = instance.authority.encode()
            count = max(1, round(most * instance.weight / heaviest))
            points += [(hash64(address, seed=point) >> bits << bits) | place for point in range(count)]
        points.sort()
        self._points = points
        self._owners = [known[point & ((1 << bits) - 1)] for point in points]

    def find(self, key: str, attempt: int = 0) -> Instance:
        """The instance of a key.

        Args:
            attempt: How many were found unfit before: each leads to another place, the same for equal keys.
        """
        point = digest(key, attempt)
        return self._owners[bisect(self._points, point) % len(self._owners)]
