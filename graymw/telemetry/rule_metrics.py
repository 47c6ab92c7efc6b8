"""The rules in force as gauges: their revision, age and shares, and whether they are what their source holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from graymw.core.model import SHARE_SCALE, Release, RuleDocument
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.engine import Engine
from graymw.telemetry.request_metrics import RELEASE, VERSION

REVISION: Final = "gray.revision"
RULE: Final = "gray.rule"


class Running(Protocol):
    """An engine, and who keeps its rules."""

    @property
    def engine(self) -> Engine:
        """What decides."""

    @property
    def keeper(self) -> DocumentKeeper:
        """What it decides by."""


Fleet = Callable[[], Iterable[Running]]
"""All engines of this process, now."""


class RuleMetrics:
    """Gauges over the rules of some engines.

    Args:
        fleet: The engines.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def create(self, meter: Meter) -> None:
        """Create the gauges of a meter."""
        gauge = meter.create_observable_gauge
        gauge("graymw.rules.revision", [self._revisions], "1", "1 for the revision in force")
        gauge("graymw.rules.age", [self._ages], "s", "Time since the rules in force were loaded")
        gauge("graymw.rules.stale", [self._stale], "1", "1 while the rules in force are not what their source has now")
        gauge("graymw.rules.share", [self._shares], "1", "Share that a rule gives a version, from 0 to 1")

    def _revisions(self, _options: CallbackOptions) -> Iterator[Observation]:
        for revision in dict.fromkeys(running.engine.snapshot.document.revision for running in self._fleet()):
            if revision:
                yield Observation(1, {REVISION: revision})

    def _ages(self, _options: CallbackOptions) -> Iterator[Observation]:
        now = time.time()
        known = [age for running in self._fleet() if (age := running.keeper.current.age(now)) is not None]
        if known:
            yield Observation(max(known))

    def _stale(self, _options: CallbackOptions) -> Iterator[Observation]:
        keepers = [running.keeper for running in self._fleet() if running.keeper.source is not None]
        if keepers:
            yield Observation(int(any(keeper.last_error or keeper.current.from_disk for keeper in keepers)))

    def _shares(self, _options: CallbackOptions) -> Iterator[Observation]:
        found: dict[tuple[str, str, str], float] = {}
        for running in self._fleet():
            found.update(configured_shares(running.engine.snapshot.document))
        for (release, rule, version), share in found.items():
            yield Observation(share, {RELEASE: release, RULE: rule, VERSION: version})


def configured_shares(document: RuleDocument) -> dict[tuple[str, str, str], float]:
    """Share from 0 to 1 by release, rule and version, of every split; what a split leaves is the stable version's."""
    return {
        (release.name, name, version): share / SHARE_SCALE
        for release in document.releases
        if release.enabled
        for name, version, share in _shares(release)
    }


def _shares(release: Release) -> Iterator[tuple[str, str, int]]:
    for rule in release.rules:
        if rule.split is None:
            continue
        rest = SHARE_SCALE
        for version, share in rule.split.shares:
            yield rule.name, version, share
            rest -= share
        yield rule.name, release.stable, rest
