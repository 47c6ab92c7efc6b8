"""Candidates for a call in one process: who of them is fit and near, and who takes the next call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Final, NamedTuple

from graymw.core.instances import Candidates, Instance
from graymw.runtime.balancers import Balance, Draw
from graymw.runtime.health import Health
from graymw.runtime.warming import WarmUp

NONE: Final[frozenset[str]] = frozenset()

_DRAWS: Final = 16
"""Draws before everybody is looked at in turn; half of the candidates at most are unfit, as a rule."""


class _View(NamedTuple):
    """How things stand until the next change of who is out."""

    epoch: object
    until: float
    out: frozenset[str]
    members: Sequence[Instance]
    draw: Draw


class Pool:
    """Candidates and the place that a balancer keeps among them.

    Args:
        candidates: At least one.
        zone: Instances of this zone are preferred, while at least half of them are fit; empty for none.
    """

    def __init__(self, candidates: Candidates, balance: Balance, zone: str, health: Health, warm_up: WarmUp) -> None:
        self._balance = balance
        self._health = health
        self._warm_up = warm_up
        self._all = candidates.instances
        near = tuple(instance for instance in self._all if instance.zone == zone) if zone else ()
        self._near = near or self._all
        self.draw: Draw = balance.over(self._near)
        """Draws where everybody is fit."""
        self._view = _View(None, -math.inf, NONE, self._near, self.draw)

    @cached_property
    def _authorities(self) -> frozenset[str]:
        return frozenset(instance.authority for instance in self._all)

    @cached_property
    def _draw_of_all(self) -> Draw:
        return self.draw if self._near is self._all else self._balance.over(self._all)

    def fit(self, tried: frozenset[str]) -> int:
        """How many could take a call that some have been tried for, by their authorities."""
        passed = self._now().out | tried
        return len(self._all) - len(passed & self._authorities)

    def pick(self, key: str | None, tried: frozenset[str]) -> Instance | None:
        """One that is fit and was not tried; where nobody is fit, one that was not tried; else None."""
        view = self._now()
        passed = view.out | tried
        for attempt in range(_DRAWS):
            instance = view.draw(key, attempt)
            if instance.authority not in passed and self._is_warm_enough(instance, key):
                return instance
        for members, unfit in ((view.members, passed), (self._all, passed), (self._all, tried)):
            found = self._first(members, unfit, key)
            if found is not None:
                return found
        return None

    def _is_warm_enough(self, instance: Instance, key: str | None) -> bool:
        warm_up = self._warm_up
        if instance.authority not in warm_up.born:
            return True
        return self._balance.number(key) < warm_up.share(instance)

    def _first(self, members: Sequence[Instance], unfit: frozenset[str], key: str | None) -> Instance | None:
        """The first fit one, looked for from somewhere."""
        begin = int(self._balance.number(key) * len(members))
        for place in range(len(members)):
            instance = members[(begin + place) % len(members)]
            if instance.authority not in unfit:
                return instance
        return None

    def _now(self) -> _View:
        view = self._view
        health = self._health
        if view.epoch is health.epoch and health.clock() < view.until:
            return view
        epoch = health.epoch
        out, until = health.out(self._authorities)
        near = self._near
        fit = sum(instance.authority not in out for instance in near) if out else len(near)
        if 2 * fit >= len(near):
            self._view = view = _View(epoch, until, out, near, self.draw)
        else:
            self._view = view = _View(epoch, until, out, self._all, self._draw_of_all)
        return view
