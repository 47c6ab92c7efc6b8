"""Which instance takes a call: candidates by the decision, of these the fit and near ones, of these one by a balancer.

Tables are replaced as a whole when the registry tells of a change. Small ones are built by the request that finds it,
large ones beside the requests, which go on by the old table meanwhile.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from graymw.core.context import GrayContext
from graymw.core.instances import (
    REFUSED,
    Candidates,
    Instance,
    InstanceTable,
    Selection,
    UsedFallback,
    select,
)
from graymw.core.model import Release, RuleDocument
from graymw.errors import GrayUnavailableError
from graymw.runtime.balancers import balance_by
from graymw.runtime.first_times import FirstTimes
from graymw.runtime.health import Health
from graymw.runtime.instance_pools import NONE, Pool
from graymw.runtime.loads import Loads, Ticket
from graymw.runtime.ports import Instances
from graymw.runtime.retry_budget import RetryBudget
from graymw.runtime.warming import WarmUp
from graymw.settings.schema import Settings

BUILT_AT_ONCE: Final = 256
"""Instances of a service up to which a request builds the table that it needs."""

RING_BUILT_AT_ONCE: Final = 16
"""The same where the balancer is ``sticky``: a ring takes some 100 µs for each instance."""

_NO_RELEASE_FALLBACK: Final = "stable"
_MOST_REMEMBERED: Final = 512
"""Different decisions whose candidates are remembered."""


class Choice(NamedTuple):
    """Where a call goes.

    Attributes:
        instance: None where the service is not known here: the call goes as addressed.
        fallback: Which fallback led to it; None for none.
        ticket: Ends when the call does, where the balancer counts calls under way.
    """

    instance: Instance | None
    fallback: UsedFallback | None
    ticket: Ticket | None


UNKNOWN: Final = Choice(None, None, None)


class _Wanted(NamedTuple):
    """What a decision asks of a service."""

    release: Release | None
    version: str | None
    label: str | None
    stable_label: str | None
    gray: bool


class _Known:
    """One service as the registry described it at one moment.

    Attributes:
        service: What its instances call it; callers may use a longer name, such as ``orders.shop.svc``.
        remembered: A document, and what the decisions met so far come to by it while everybody is fit.
    """

    __slots__ = ("instances", "pools", "remembered", "service", "table")

    def __init__(self, instances: tuple[Instance, ...]) -> None:
        self.instances = instances
        self.service = instances[0].service.lower() if instances else ""
        self.table = InstanceTable(instances)
        self.pools: dict[Candidates, Pool] = {}
        self.remembered: tuple[RuleDocument | None, dict[GrayContext, tuple[Pool, UsedFallback | None]]] = (None, {})


class InstanceDirectory:
    """Instances of all known services, how they fare, and the choice among them.

    Args:
        source: Who knows them; a new tuple from it means that they changed.
        settings: How to balance.
        clock: Seconds, monotonic.

    Attributes:
        sticky: Whether a choice depends on the key of the work at hand.
        health: Who of them fails.
        budget: How many calls may be tried once more.
        first_time: What was logged of calls to these instances.
    """

    def __init__(
        self,
        source: Instances,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._source = source
        self._at_port: Callable[[str, int], str] | None = getattr(source, "at_port", None)
        self._zone = settings.zone
        self._loads = Loads() if settings.balancer == "least-request" else None
        self._balance = balance_by(settings.balancer, self._loads or Loads(), chance)
        self._warm_up = WarmUp(settings.warm_up, clock=clock)
        self._services: dict[str, _Known] = {}
        self._building: dict[str, threading.Thread] = {}
        self.sticky = settings.balancer == "sticky"
        self.health = Health(clock=clock, chance=chance)
        self.first_time = FirstTimes()
        self.budget = RetryBudget(settings.retry_budget, clock=clock)

    def table(self, service: str) -> InstanceTable | None:
        """Table of a service as choices are made by it now; None where the service is not known here."""
        known = self._known(service.lower())
        return None if known is None else known.table

    def choose(
        self,
        document: RuleDocument,
        service: str,
        gray: GrayContext,
        key: str | None = None,
        *,
        port: int | None = None,
    ) -> Choice:
        """Instance for one call.

        Args:
            service: As addressed; rules go by this name whatever the port.
            key: Of the work at hand, where ``sticky``; None where it has none.
            port: As addressed; counts where the registry tells the ports of a service apart.

        Raises:
            GrayUnavailableError: No instance may take the call.
        """
        name = service.lower()
        known = self._known(name if self._at_port is None or port is None else self._at_port(name, port))
        if known is None:
            return UNKNOWN
        if self.health.records or self._warm_up.born:
            return self._choose_among_unequals(known, name, _wanted(document, known, name, gray), key, NONE)
        remembered, found = known.remembered
        entry = found.get(gray) if remembered is document else None
        if entry is None:
            entry = self._remember(known, document, name, gray)
        instance = entry[0].draw(key, 0)
        return Choice(instance, entry[1], None if self._loads is None else self._loads.begin(instance))

    def choose_again(
        self,
        document: RuleDocument,
        service: str,
        gray: GrayContext,
        key: str | None,
        tried: frozenset[str],
        *,
        elsewhere: bool,
        port: int | None = None,
    ) -> Choice:
        """Another instance for a call that failed.

        Args:
            tried: Authorities of those that it failed at.
            elsewhere: It is time for the fallback, whoever of the version is left.

        Raises:
            GrayUnavailableError: No other instance may take the call.
        """
        name = service.lower()
        known = self._known(name if self._at_port is None or port is None else self._at_port(name, port))
        if known is None:
            return UNKNOWN
        return self._choose_among_unequals(
            known, name, _wanted(document, known, name, gray), key, tried, elsewhere=elsewhere
        )

    def _choose_among_unequals(
        self,
        known: _Known,
        name: str,
        wanted: _Wanted,
        key: str | None,
        tried: frozenset[str],
        *,
        elsewhere: bool = False,
    ) -> Choice:
        given_up = known.table.version(wanted.label) if elsewhere and wanted.gray and wanted.label else None

        def fit(candidates: Candidates) -> int:
            return 0 if candidates is given_up else self._pool(known, candidates).fit(tried)

        selection = _selection(known.table, wanted, fit)
        instance = self._pool(known, selection.candidates).pick(key, tried) if selection is not REFUSED else None
        if instance is None:
            raise _unavailable(name, wanted)
        self.health.begin(instance)
        return Choice(instance, selection.fallback, None if self._loads is None else self._loads.begin(instance))

    def _remember(
        self, known: _Known, document: RuleDocument, name: str, gray: GrayContext
    ) -> tuple[Pool, UsedFallback | None]:
        wanted = _wanted(document, known, name, gray)
        selection = _selection(known.table, wanted, len)
        if selection is REFUSED:
            raise _unavailable(name, wanted)
        entry = (self._pool(known, selection.candidates), selection.fallback)
        remembered, found = known.remembered
        if remembered is not document or len(found) >= _MOST_REMEMBERED:
            found = {}
            known.remembered = (document, found)
        found[gray] = entry
        return entry

    def _pool(self, known: _Known, candidates: Candidates) -> Pool:
        pool = known.pools.get(candidates)
        if pool is None:
            made = Pool(candidates, self._balance, self._zone, self.health, self._warm_up)
            pool = known.pools.setdefault(candidates, made)
        return pool

    def _known(self, name: str) -> _Known | None:
        instances = self._source.instances(name)
        if instances is None:
            return None
        known = self._services.get(name)
        if known is not None:
            if known.instances is instances:
                return known
            at_once = RING_BUILT_AT_ONCE if self.sticky else BUILT_AT_ONCE
            if len(instances) > at_once and self._builds_aside(name, instances, known):
                return known
        return self._adopt(name, instances, known)

    def _builds_aside(self, name: str, instances: tuple[Instance, ...], known: _Known) -> bool:
        """Whether a table is being made beside the requests; False where no thread can be had."""
        building = self._building.get(name)
        if building is not None and building.is_alive():  # of a parent's thread a forked process has but the name
            return True
        thread = threading.Thread(
            target=self._adopt, args=(name, instances, known), name="graymw-instances", daemon=True
        )
        self._building[name] = thread
        try:
            thread.start()
        except RuntimeError:
            return False
        return True

    def _adopt(self, name: str, instances: tuple[Instance, ...], before: _Known | None) -> _Known:
        """Put a table in the place of another, with what the other was asked for ready."""
        known = _Known(instances)
        if before is not None:
            self.health.reconcile(before.instances, instances)
            self._warm_up.appeared(before.instances, instances)
            if self._loads is not None:
                self._loads.forget_idle()
            document, asked = before.remembered
            document = document or RuleDocument()
            for gray in list(asked):
                try:
                    self._remember(known, document, name, gray)
                except GrayUnavailableError:
                    continue
        self._services[name] = known
        return known


def _wanted(document: RuleDocument, known: _Known, name: str, gray: GrayContext) -> _Wanted:
    """What a decision asks of a service: by the name that a caller used where the rules know it, else by its own."""
    service = name if not known.service or document.names(name) else known.service
    release = document.governing(service)
    if release is None:
        return _Wanted(None, None, None, None, gray=False)
    decision = gray.decisions.get(release.name)
    version = decision.version if decision is not None else None
    return _Wanted(
        release,
        version,
        release.label(service, version) if version is not None else None,
        release.label(service, release.stable),
        gray=version is not None and version != release.stable,
    )


def _selection(table: InstanceTable, wanted: _Wanted, fit: Callable[[Candidates], int]) -> Selection:
    release = wanted.release
    return select(
        table,
        wanted.label,
        wanted.stable_label,
        release.fallback if release is not None else _NO_RELEASE_FALLBACK,
        gray=wanted.gray,
        min_instances=release.min_instances if release is not None else 1,
        fit=fit,
    )


def _unavailable(service: str, wanted: _Wanted) -> GrayUnavailableError:
    return GrayUnavailableError(service, wanted.version, wanted.release.name if wanted.release is not None else None)
