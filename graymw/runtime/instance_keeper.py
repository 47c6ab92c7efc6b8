"""Instances in force: looked up in a registry beside the requests, kept while the registry is out of reach.

A request only reads a dictionary. What a registry takes back is believed at once, but for two cases in which a registry
that lost its memory looks like a fleet that died: where everything (or most of it) vanishes in one report, and right
after a reconnection. Then the vanished are kept for a while; an instance that is really gone is found out by the first
call to it, which goes elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Final

from graymw.core import names
from graymw.core.instances import Instance
from graymw.errors import GrayError
from graymw.runtime import counters
from graymw.runtime.backoff import Backoff
from graymw.runtime.ports import CatalogueSource, InstanceSource, ServiceNames, ServiceSource
from graymw.runtime.watching import Watch, WatchThread, watch_thread

log = logging.getLogger("graymw.registry")

HOLD_SECONDS: Final = 15.0
"""How long instances that vanished suspiciously are kept: more than two of any registry's heartbeats."""

MAX_ASKED: Final = 256
"""Services looked up because calls went there; more hosts than this are no services."""

SMALL_CATALOGUE: Final = 16
"""A registry that lists no more services than this is looked up whole, so that a first call finds its instances."""

RETRY_CAP: Final = 10.0
"""Longest wait in seconds before a registry out of reach is asked again."""


class InstanceKeeper:
    """The instances of every service that is looked up. An ``Instances`` for the choice of one.

    Args:
        source: The registry.
        services: Services that are looked up and known whether or not the registry lists any instance.
        hold_seconds: How long instances that vanished suspiciously are kept.
        thread: Who watches.

    Attributes:
        last_error: Why the registry cannot be read now; empty where it can.
    """

    def __init__(
        self,
        source: InstanceSource,
        *,
        services: Iterable[str] = (),
        hold_seconds: float = HOLD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        thread: WatchThread = watch_thread,
    ) -> None:
        self.source = source
        self.last_error = ""
        self._declared = frozenset(service.lower() for service in services)
        self._ruled: frozenset[str] = frozenset()
        self._asked: dict[str, None] = {}
        self._listed: frozenset[str] | None = None
        self._held = {service: _Holding(hold_seconds, clock) for service in self._declared}
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._thread = thread
        self._known: dict[str, tuple[Instance, ...]] = {}
        self._told: set[str] = set()
        self._whole = False
        self._by_port = False
        self._watch: Watch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._ends: dict[str, asyncio.TimerHandle] = {}

    @property
    def name(self) -> str:
        """The registry for people, without credentials."""
        return self.source.name

    @property
    def ready(self) -> bool:
        """Whether the registry has told of everything that is to be looked up, be it that there is nothing."""
        return self._whole or self._wanted() <= self._told

    @property
    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        """All services known now."""
        return dict(self._known)

    def instances(self, service: str) -> tuple[Instance, ...] | None:
        """Instances of a service; None where the registry never told of any, and nobody declared the service."""
        found = self._known.get(service)
        if found is None and service not in self._asked:
            self._ask(service)
        return found

    def at_port(self, service: str, port: int) -> str:
        """Name of what a call to a port of a service means: ``orders:9090`` where the registry tells ports apart."""
        if not self._by_port:
            return service
        name = f"{service}:{port}"
        return name if name in self._known else service

    def want(self, services: Iterable[str]) -> None:
        """Look up these services, which rules name; they take the place of those wanted before."""
        self._ruled = frozenset(service.lower() for service in services)
        self._wake()

    def start(self) -> None:
        """Look up from now on. Waits for nothing."""
        if self._watch is None:
            self._watch = self._thread.run(self._follow, name=f"instances in {self.source.name}")

    def stop(self) -> None:
        """Look up no more; what is known stays."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _ask(self, service: str) -> None:
        """Remember a host that a call went to, where it may be a service."""
        may_be = service in self._listed if self._listed is not None else _may_be_service(service)
        if may_be and len(self._asked) < MAX_ASKED and names.is_service(service):
            self._asked[service] = None
            self._wake()

    def _wake(self) -> None:
        loop, changed = self._loop, self._changed
        if loop is not None and changed is not None:
            try:
                loop.call_soon_threadsafe(changed.set)
            except RuntimeError:  # the loop has ended: the next one looks at all that is wanted
                self._loop = None

    def _wanted(self) -> frozenset[str]:
        listed = self._listed or frozenset()
        small = listed if len(listed) <= SMALL_CATALOGUE else frozenset[str]()
        return self._declared | self._ruled | frozenset(self._asked) | small

    async def _follow(self) -> None:
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        self._ends.clear()  # after a fork: those of the parent's loop
        try:
            if isinstance(self.source, CatalogueSource):
                await self._keep_all(self.source)
            else:
                await self._keep_each(self.source)
        finally:
            self._loop = self._changed = None
            for end in self._ends.values():
                end.cancel()
            self._ends.clear()
            await self.source.close()

    async def _keep_all(self, source: CatalogueSource) -> None:
        async def take(reports: AsyncIterator[Mapping[str, tuple[Instance, ...]]]) -> AsyncIterator[None]:
            last: Mapping[str, tuple[Instance, ...]] | None = None
            async for report in reports:
                found = {service.lower(): instances for service, instances in report.items()}
                for service in found.keys() | self._known.keys():
                    now = found.get(service, ())
                    if last is None or now is not last.get(service, ()):
                        self._report(service, now, reconnected=last is None)
                last = found
                self._whole = True
                self._by_port = any(":" in service for service in found)
                yield

        await self._again(lambda: take(source.watch_all()))

    async def _keep_each(self, source: ServiceSource) -> None:
        assert self._changed is not None  # noqa: S101 - made by the caller
        tasks: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            if isinstance(source, ServiceNames):
                group.create_task(self._again(lambda: self._take_names(source.watch_names())))
            while True:
                wanted = self._wanted()
                # What has instances is looked up on: calls may still go there, and would go by what was known for ever.
                for service in [one for one in tasks if one not in wanted and not self._known.get(one)]:
                    tasks.pop(service).cancel()
                    self._known.pop(service, None)
                for service in wanted - tasks.keys():
                    tasks[service] = group.create_task(self._keep(source, service))
                await self._changed.wait()
                self._changed.clear()

    async def _keep(self, source: ServiceSource, service: str) -> None:
        async def take(reports: AsyncIterator[tuple[Instance, ...]]) -> AsyncIterator[None]:
            first = True
            async for report in reports:
                self._report(service, report, reconnected=first)
                first = False
                yield

        await self._again(lambda: take(source.watch(service)))

    async def _take_names(self, reports: AsyncIterator[frozenset[str]]) -> AsyncIterator[None]:
        async for report in reports:
            self._listed = frozenset(service.lower() for service in report)
            self._wake()
            yield

    async def _again(self, begin: Callable[[], AsyncIterator[None]]) -> None:
        """Watch for ever, anew after each trouble; the waits grow and differ between processes."""
        backoff = Backoff(cap=RETRY_CAP)
        while True:
            began, has_reported = time.monotonic(), False
            try:
                async for _ in begin():
                    has_reported = True
                    self.last_error = ""
            except Exception as error:  # noqa: BLE001 - whatever a registry does, what is known stays
                self._trouble(error)
            if has_reported:
                backoff.went_well(time.monotonic() - began)
            await asyncio.sleep(backoff.next())

    def _trouble(self, error: Exception) -> None:
        told = str(error) if isinstance(error, GrayError) else repr(error)
        counters.count("registry.error")
        if told != self.last_error:
            self.last_error = told
            meanwhile = "the last known instances stay" if self._known else "calls go as addressed until then"
            log.warning("%s; %s", told, meanwhile)

    def _report(self, service: str, report: tuple[Instance, ...], *, reconnected: bool) -> None:
        """Put in force what a registry says of one service."""
        self._told.add(service)
        before = self._known.get(service)
        if before is None and not report and service not in self._declared:
            return  # the registry has never heard of it: calls go as addressed
        holding = self._held.setdefault(service, _Holding(self._hold_seconds, self._clock))
        now = holding.taken(before or (), report, reconnected=reconnected)
        if before is None or now != before:
            self._known[service] = now
            counters.count("registry.changed")
            log.debug("%s has %d instances", service, len(now))
        self._look_again(service, holding.next_end())

    def _look_again(self, service: str, seconds: float | None) -> None:
        """Look again when the time of what is held is over; once, however many reports there are until then."""
        planned = self._ends.pop(service, None)
        if planned is not None:
            planned.cancel()
        if seconds is not None and self._loop is not None:
            self._ends[service] = self._loop.call_later(seconds, self._let_go, service)

    def _let_go(self, service: str) -> None:
        """The time of what was held is over."""
        holding = self._held[service]
        if holding.next_end() is not None:
            self._report(service, holding.reported, reconnected=False)


class _Holding:
    """What a registry last said of one service, and the instances that are kept although it no longer names them."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.reported: tuple[Instance, ...] = ()
        self._seconds = seconds
        self._clock = clock
        self._until: dict[str, tuple[Instance, float]] = {}
        self._suspicious_until = 0.0

    def taken(
        self, before: tuple[Instance, ...], report: tuple[Instance, ...], *, reconnected: bool
    ) -> tuple[Instance, ...]:
        """The instances in force after a report."""
        now = self._clock()
        if reconnected:
            self._suspicious_until = now + self._seconds
        report = tuple(sorted(report, key=_by_place))
        there = {instance.authority for instance in report}
        vanished = [one for one in before if one.authority not in there and one.authority not in self._until]
        if vanished and (now < self._suspicious_until or 2 * len(vanished) > len(before)):
            self._until |= {one.authority: (one, now + self._seconds) for one in vanished}
        self._until = {
            place: (one, end) for place, (one, end) in self._until.items() if place not in there and end > now
        }
        self.reported = report
        if not self._until:
            return report
        return tuple(sorted((*report, *(one for one, _ in self._until.values())), key=_by_place))

    def next_end(self) -> float | None:
        """Seconds until something is held no longer; None where nothing is held."""
        ends = [end for _, end in self._until.values()]
        return max(0.0, min(ends) - self._clock()) if ends else None


def _by_place(instance: Instance) -> str:
    return instance.authority


def _may_be_service(host: str) -> bool:
    """Whether a host that a call went to may be a service where the registry cannot list them: a name without dots."""
    return "." not in host and ":" not in host and host != "localhost"
