"""Instances in etcd: discovered by one watch over all services, registered under a lease."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from types import MappingProxyType
from typing import Final

from graymw.core.instances import Instance
from graymw.errors import Problem, SettingsError, SourceError
from graymw.registries.etcd_entries import Unreadable, instance_of, key_of, lease_of, service_of, value_of
from graymw.remote.etcd.cluster import Cluster
from graymw.remote.etcd.messages import Code, Entry, KeyRange, RefusedError
from graymw.remote.etcd.mirror import Changes, mirror
from graymw.remote.etcd.session import Session
from graymw.remote.loop_bound import LoopBound
from graymw.runtime import counters
from graymw.settings.access import Access

log = logging.getLogger("graymw.registry")

SETTING: Final = "GRAYMW_REGISTRY"
PREFIX: Final = "graymw/services"
"""Where instances stand if the URL does not say."""

TTL_SECONDS: Final = 15
"""How long an instance stays known without a heartbeat."""

_HEARTBEATS_PER_TTL: Final = 3
_ATTEMPTS: Final = 3


class EtcdServices:
    """Instances of all services that stand under one prefix.

    Args:
        url: ``etcd://HOST:2379,HOST:2379/PREFIX``; with ``?root=true`` services stand at the top, without a prefix.
        access: User, password and certificates.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._cluster = _cluster(url, access)
        self._prefix = _prefix(self._cluster)

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._cluster.name

    async def watch_all(self) -> AsyncIterator[Mapping[str, tuple[Instance, ...]]]:
        """Instances of all services as they are now, then again whenever they have changed.

        Raises:
            SourceError: The cluster cannot be read now, or the user may not read the prefix.
        """
        catalogue = _Catalogue(self._prefix)
        async with self._cluster.session() as session:
            reports = mirror(session, KeyRange.prefix(self._prefix.encode()))
            async with aclosing(reports) as changes:
                async for change in changes:
                    if catalogue.take(change):
                        yield catalogue.services

    async def close(self) -> None:
        """Nothing is kept: each watch closes its own connections."""


class EtcdRegistrar:
    """Registers instances under one prefix, each under a lease that its heartbeat keeps alive.

    Args:
        url: As for ``EtcdServices``.
        access: User, password and certificates.
        ttl: Seconds without a heartbeat after which an instance is out; etcd does not go below about 2.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access, *, ttl: int = TTL_SECONDS) -> None:
        self._cluster = _cluster(url, access)
        self._prefix = _prefix(self._cluster)
        self._ttl = ttl
        self._session = LoopBound(self._cluster.session)

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._cluster.name

    @property
    def heartbeat_seconds(self) -> float:
        """How often ``heartbeat`` is due."""
        return self._ttl / _HEARTBEATS_PER_TTL

    async def register(self, instance: Instance) -> None:
        """Make the instance known; again for one that is known already, with what may have changed about it.

        Raises:
            SourceError: The cluster cannot be reached, or refuses.
        """
        key, lease = self._place(instance)
        async with self._asking() as session:
            for attempt in range(1, _ATTEMPTS + 1):
                if not await session.grant(lease, self._ttl):
                    await session.keep_alive(lease)
                try:
                    await session.put(key.encode(), value_of(instance), lease=lease)
                except RefusedError as error:  # the lease of an earlier run has ended in between
                    if error.status != Code.NOT_FOUND or attempt == _ATTEMPTS:
                        raise
                else:
                    return

    async def heartbeat(self, instance: Instance) -> bool:
        """Keep the instance known. False: it is no longer there, or hangs on a lease that is not kept alive.

        Raises:
            SourceError: The cluster cannot be reached, or refuses.
        """
        key, lease = self._place(instance)
        async with self._asking() as session:
            if not await session.keep_alive(lease):
                return False
            found = await session.read(KeyRange(key.encode()))
        return any(entry.lease == lease for entry in found.entries)

    async def deregister(self, instance: Instance) -> None:
        """Take the instance out; no error where it is out already.

        Raises:
            SourceError: The cluster cannot be reached, or refuses.
        """
        key, lease = self._place(instance)
        async with self._asking() as session:
            await session.delete(key.encode())
            await session.revoke(lease)

    async def close(self) -> None:
        """Let go of connections; what is registered stays until its lease runs out."""
        session = self._session.take()
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Session]:
        """The session; after trouble it is left, so that the next one may find a member that is better off."""
        try:
            yield self._session.get()
        except SourceError:
            await self.close()
            raise

    def _place(self, instance: Instance) -> tuple[str, int]:
        """Key and lease of an instance."""
        key = key_of(self._prefix, instance)
        return key, lease_of(key, self._ttl)


class _Catalogue:
    """Instances by service, kept up key by key.

    Attributes:
        services: As they are now; replaced as a whole. A service that has not changed keeps its tuple.
    """

    def __init__(self, prefix: str) -> None:
        self.services: Mapping[str, tuple[Instance, ...]] = MappingProxyType({})
        self._prefix = prefix
        self._found: dict[str, dict[bytes, tuple[int, Instance]]] = {}
        self._told = False

    def take(self, changes: Changes) -> bool:
        """Take what happened; whether there is something to tell: what is there at first, then what is different."""
        touched: set[str] = set()
        if changes.whole:
            touched.update(self._found)
            self._found = {}
        for key, entry in changes.entries.items():
            read = self._read(key, entry)
            if read is not None:
                touched.add(read)
        before = self.services
        services = dict(before)
        for service in touched:
            now = _distinct(self._found.get(service, {}).values())
            if not now:
                services.pop(service, None)
                self._found.pop(service, None)
            elif now != before.get(service):
                services[service] = now
        first, self._told = not self._told, True
        if not first and services == before:
            return False
        self.services = MappingProxyType(services)
        return True

    def _read(self, key: bytes, entry: Entry | None) -> str | None:
        """Take one key; the service that it belongs to."""
        try:
            service = service_of(self._prefix, key)
        except Unreadable as error:
            if entry is not None:
                _leave_out(key, error)
            return None
        held = self._found.setdefault(service, {})
        held.pop(key, None)
        if entry is not None:
            try:
                held[key] = (entry.mod_revision, instance_of(service, entry.value))
            except Unreadable as error:
                _leave_out(key, error)
        return service


def _leave_out(key: bytes, error: Unreadable) -> None:
    counters.count("registry.unreadable")
    shown = key.decode("utf-8", "backslashreplace")
    told = "etcd holds %s, which is no instance: %s; it is left out"
    counters.some(log, "etcd:unreadable", shown, logging.WARNING, told, shown, error)


def _distinct(found: Iterable[tuple[int, Instance]]) -> tuple[Instance, ...]:
    """One instance for each address: the one written last. In the order of their addresses."""
    by_address = {instance.authority: instance for _, instance in sorted(found, key=lambda one: one[0])}
    return tuple(by_address[address] for address in sorted(by_address))


def _cluster(url: str, access: Access) -> Cluster:
    example = f"etcd://127.0.0.1:2379/{PREFIX}"
    return Cluster(url, access, setting=SETTING, parameters=("root",), example=example)


def _prefix(cluster: Cluster) -> str:
    """What the keys of instances begin with, with the slash before the service; empty for all keys."""
    root = cluster.url.query.get("root", "false")
    if root not in ("true", "false"):
        raise SettingsError([Problem(SETTING, f"root={root} means nothing", "write root=true, or leave it out")])
    path = cluster.url.path.removesuffix("/")
    if root == "true":
        if path:
            mend = "leave out one of the two"
            raise SettingsError([Problem(SETTING, "it has a prefix, and root=true says that there is none", mend)])
        return ""
    return f"{path or PREFIX}/"
