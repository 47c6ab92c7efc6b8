"""Instances from DNS: SRV records (RFC 2782), or addresses with one port for all.

DNS says nothing of versions, so a version is part of the name that is asked for, as in Consul's tags
(``v2.orders.service.consul``) or with one Kubernetes Service per version (``orders-v2``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from graymw.core.instance_metadata import MAX_WEIGHT
from graymw.core.instances import Instance
from graymw.errors import SourceError
from graymw.registries.dns_question import Question, question_of
from graymw.remote.dns import DnsClient, ServiceRecord, ServiceRecords, require_dnspython
from graymw.runtime import counters

log = logging.getLogger("graymw.registry")

FLOOR_SECONDS: Final = 1.0
"""An answer is used this long even where its TTL is shorter: many servers say 0."""

CEILING_SECONDS: Final = 30.0
"""An answer is asked for again after this long even where its TTL is longer."""

ABSENT_SECONDS: Final = 5.0
"""The same for an answer that there is nothing: what has just been deployed should not wait for half a minute."""

FORGET_SECONDS: Final = 120.0
"""The addresses of a host that no record names any more are forgotten this long after they ran out."""

LOOKUPS_AT_ONCE: Final = 16


class Lookup(NamedTuple):
    """What DNS holds of one service, and for how many seconds."""

    instances: tuple[Instance, ...]
    seconds: float


class DnsRegistry:
    """A registry that asks name servers again whenever their answers have run out.

    Args:
        url: ``dns://[SERVER[:PORT]]/DOMAIN`` with the parameters ``record``, ``name``, ``versions``, ``port``,
            ``scheme`` and ``transport``.
        floor: Seconds for which an answer is used at least.
        entropy: A number in [0, 1); an answer is asked for again up to a tenth of its time early, so that many
            processes do not ask at the same moment.

    Raises:
        SettingsError: The URL means nothing.
        MissingExtraError: dnspython is not installed.
    """

    def __init__(self, url: str, *, floor: float = FLOOR_SECONDS, entropy: Callable[[], float] = random.random) -> None:
        require_dnspython()
        self._question = question_of(url)
        self._floor = floor
        self._entropy = entropy

    @property
    def name(self) -> str:
        """The URL."""
        return self._question.shown

    async def watch(self, service: str) -> AsyncIterator[tuple[Instance, ...]]:
        """Instances as the name servers know them, then again whenever they have changed.

        Raises:
            SourceError: A question was not answered; that there is no such name is an answer.
        """
        client = DnsClient(self._question.servers, tcp=self._question.tcp)
        look = _Look(client, self._question)
        known: tuple[Instance, ...] | None = None
        while True:
            found = await look.up(service)
            if found.instances != known:
                known = found.instances
                yield known
            await asyncio.sleep(self._pause(found))

    async def close(self) -> None:
        """Nothing is kept open between two questions."""

    def _pause(self, found: Lookup) -> float:
        ceiling = CEILING_SECONDS if found.instances else ABSENT_SECONDS
        seconds = max(min(found.seconds, ceiling), self._floor)
        return seconds * (1 - self._entropy() / 10)


class _Look:
    """Looks services up; remembers the addresses of SRV targets for as long as they hold."""

    def __init__(self, client: DnsClient, question: Question) -> None:
        self._client = client
        self._question = question
        self._hosts = _Hosts(client)

    async def up(self, service: str) -> Lookup:
        """What there is of a service now; in an order that does not depend on the server's."""
        instances: dict[tuple[str, str, int], Instance] = {}
        seconds = CEILING_SECONDS
        for version, name in self._question.names(service):
            found = await self._listed(name) if self._question.port is None else await self._at(name)
            seconds = min(seconds, found.seconds)
            for host, port, weight in sorted(found.places):
                instance = Instance(service, host, port, version, weight=weight, tls=self._question.tls)
                instances[version, host, port] = instance
        return Lookup(tuple(instances.values()), seconds)

    async def _at(self, name: str) -> _Found:
        port = self._question.port or 0
        answer = await self._client.addresses(name)
        return _Found([(address, port, 1) for address in answer.addresses], answer.ttl)

    async def _listed(self, name: str) -> _Found:
        """Where the records of the best priority that has addresses at all point to (RFC 2782)."""
        answer = await self._client.services(name)
        records = [record for record in answer.records if record.target != "." and record.port]
        seconds = answer.ttl
        for priority in sorted({record.priority for record in records}):
            group = [record for record in records if record.priority == priority]
            hosts = await self._hosts.of([it.target for it in group], answer)
            now = asyncio.get_running_loop().time()
            seconds = min([seconds, *(host.until - now for host in hosts.values())])
            weights = _weights(group)
            places = [
                (address, record.port, weight)
                for record, weight in zip(group, weights, strict=True)
                for address in hosts[record.target].addresses
            ]
            if places:
                return _Found(places, seconds)
        return _Found([], seconds)


class _Found(NamedTuple):
    """Host, port and weight of each instance, and the seconds for which this holds."""

    places: Sequence[tuple[str, int, int]]
    seconds: float


class _Host(NamedTuple):
    """Addresses of a host, and until when on the loop's clock they hold."""

    addresses: tuple[str, ...]
    until: float


class _Hosts:
    """Addresses of hosts, asked for again when their time is up; the last known where that fails."""

    def __init__(self, client: DnsClient) -> None:
        self._client = client
        self._known: dict[str, _Host] = {}

    async def of(self, targets: Iterable[str], told: ServiceRecords) -> Mapping[str, _Host]:
        """Hosts by name.

        Args:
            told: The answer that names them, which may have brought their addresses along.

        Raises:
            SourceError: Not one of them has an address, as they could not be asked for.
        """
        now = asyncio.get_running_loop().time()
        free = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        failures: list[SourceError] = []

        async def look_up(target: str) -> _Host:
            if target in told.glue:
                return _Host(told.glue[target], now + told.ttl)
            known = self._known.get(target)
            if known is not None and now < known.until:
                return known
            try:
                async with free:
                    answer = await self._client.addresses(target)
            except SourceError as error:
                failures.append(error)
                counters.count("registry.dns.host")
                counters.some(log, "dns", target, logging.WARNING, "an instance cannot be found: %s", error)
                return known._replace(until=now) if known else _Host((), now)
            return _Host(answer.addresses, now + max(answer.ttl, FLOOR_SECONDS))

        wanted = list(dict.fromkeys(targets))
        found = dict(zip(wanted, await asyncio.gather(*map(look_up, wanted)), strict=True))
        if failures and not any(host.addresses for host in found.values()):
            raise failures[0]
        kept = {name: host for name, host in self._known.items() if now < host.until + FORGET_SECONDS}
        self._known = kept | found
        return found


def _weights(records: Sequence[ServiceRecord]) -> list[int]:
    """Weights as shares: equal where the records have none, else 0 takes an instance out."""
    highest = max(record.weight for record in records)
    if highest == 0:
        return [1] * len(records)
    if highest <= MAX_WEIGHT:
        return [record.weight for record in records]
    return [record.weight and max(1, record.weight * MAX_WEIGHT // highest) for record in records]
