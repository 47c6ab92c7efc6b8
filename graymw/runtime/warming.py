"""New instances grow into their share: cold caches and unfilled pools answer slowly (as Envoy's slow start)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from graymw.core.instances import Instance

LEAST: Final = 0.1
"""Share of its weight that an instance begins with."""


class WarmUp:
    """Instances that appeared after the first snapshot of their service.

    Args:
        seconds: In which a new instance grows into its weight; 0 switches this off.
        clock: Seconds, monotonic.

    Attributes:
        born: When each of the new ones appeared, by authority; empty while nobody is new.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self.born: dict[str, float] = {}

    def appeared(self, before: Iterable[Instance], now: Iterable[Instance]) -> None:
        """The instances of a service have changed."""
        if not self.seconds:
            return
        known = {instance.authority for instance in before}
        present = {instance.authority for instance in now}
        moment = self.clock()
        for authority in present - known:
            self.born[authority] = moment
        gone = known - present
        for authority, born in list(self.born.items()):
            if authority in gone or moment - born >= self.seconds:
                self.born.pop(authority, None)

    def share(self, instance: Instance) -> float:
        """Share of its weight that an instance takes now: from ``LEAST``, linear in time, to 1."""
        born = self.born.get(instance.authority)
        if born is None:
            return 1.0
        age = self.clock() - born
        if age >= self.seconds:
            self.born.pop(instance.authority, None)
            return 1.0
        return max(LEAST, age / self.seconds)
