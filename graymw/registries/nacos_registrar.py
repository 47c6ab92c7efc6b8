"""This process as an ephemeral instance in Nacos."""

from __future__ import annotations

from typing import Final, Protocol

from graymw.core.instances import Instance
from graymw.registries.nacos import registry_place
from graymw.registries.nacos_entries import description_of, form_of, place_of
from graymw.remote.loop_bound import LoopBound
from graymw.remote.nacos.connection import NacosConnection
from graymw.remote.nacos.credentials import Memory
from graymw.remote.nacos.place import NacosPlace
from graymw.remote.nacos.session import NacosSession
from graymw.settings.access import Access

HEARTBEAT_SECONDS: Final = 5.0
"""Nacos' own; it calls an instance unhealthy after 15 s without one, and removes it after 30 s."""

ALIVE_SECONDS: Final = 1.0
"""How often to look whether the connection that an instance hangs on is still there."""


class NacosRegistrar:
    """Registers ephemeral instances.

    An instance lives by heartbeats over HTTP: all workers of a server stand behind one address, and when the one that
    speaks for them ends, the next goes on without a gap. With ``register=connection`` an instance hangs on a gRPC
    connection instead: gone at once when the process dies, but also for a moment when another worker takes over.

    Args:
        url: As for ``NacosServices``; registers in its cluster, by ``register=heartbeat`` or ``register=connection``.
        access: Log-in, access key, certificates.

    Raises:
        SettingsError: The URL is no such URL.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._place = registry_place(url)
        by_connection = self._place.url.query.get("register") == "connection"
        self._way: _Way = _ByConnection(self._place, access) if by_connection else _ByHeartbeat(self._place, access)
        self._heartbeat_seconds = ALIVE_SECONDS if by_connection else HEARTBEAT_SECONDS

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._place.url.shown

    @property
    def heartbeat_seconds(self) -> float:
        """How often ``heartbeat`` is due."""
        return self._heartbeat_seconds

    async def register(self, instance: Instance) -> None:
        """Make the instance known; again for one that is known already, with what may have changed about it.

        Raises:
            SourceError: Nacos cannot be reached, or refuses.
        """
        await self._way.register(instance)

    async def heartbeat(self, instance: Instance) -> bool:
        """Keep the instance known. False: Nacos no longer knows it, so it must be registered again.

        Raises:
            SourceError: Nacos cannot be reached, or refuses.
        """
        return await self._way.heartbeat(instance)

    async def deregister(self, instance: Instance) -> None:
        """Take the instance out; no error where it is out already.

        Raises:
            SourceError: Nacos cannot be reached, or refuses.
        """
        await self._way.deregister(instance)

    async def close(self) -> None:
        """Let go of connections; what lives by heartbeats stays registered."""
        await self._way.close()


class _Way(Protocol):
    async def register(self, instance: Instance, /) -> None: ...
    async def heartbeat(self, instance: Instance, /) -> bool: ...
    async def deregister(self, instance: Instance, /) -> None: ...
    async def close(self) -> None: ...


class _Session:
    """What both ways share."""

    def __init__(self, place: NacosPlace, access: Access) -> None:
        self._place = place
        self._cluster = place.url.query.get("cluster", "").partition(",")[0]
        memory = Memory()
        self._session = LoopBound(lambda: NacosSession(place, access, "naming", memory))

    async def close(self) -> None:
        session = self._session.take()
        if session is not None:
            await session.close()


class _ByHeartbeat(_Session):
    """Over HTTP, where an instance is known by its address, whoever tells of it."""

    async def register(self, instance: Instance) -> None:
        form = form_of(description_of(instance, self._cluster))
        await self._session.get().http.register(instance.service, form)

    async def heartbeat(self, instance: Instance) -> bool:
        return await self._session.get().http.beat(instance.service, place_of(instance, self._cluster))

    async def deregister(self, instance: Instance) -> None:
        form = {**place_of(instance, self._cluster), "ephemeral": "true"}
        await self._session.get().http.deregister(instance.service, form)


class _ByConnection(_Session):
    """Over gRPC, where an instance lives as long as the connection that registered it."""

    def __init__(self, place: NacosPlace, access: Access) -> None:
        super().__init__(place, access)
        self._holder: NacosConnection | None = None

    async def register(self, instance: Instance) -> None:
        connection = await self._session.get().connection()
        await self._ask(connection, "registerInstance", instance)
        self._holder = connection

    async def heartbeat(self, _: Instance) -> bool:
        return self._holder is not None and not self._holder.lost.done()

    async def deregister(self, instance: Instance) -> None:
        holder, self._holder = self._holder, None
        if holder is not None and not holder.lost.done():
            await self._ask(holder, "deregisterInstance", instance)

    async def _ask(self, connection: NacosConnection, kind: str, instance: Instance) -> None:
        signed = self._session.get().http.credentials.naming_signature(self._place.group, instance.service)
        body = {
            "namespace": self._place.namespace,
            "groupName": self._place.group,
            "serviceName": instance.service,
            "type": kind,
            "instance": {**description_of(instance, self._cluster), "serviceName": instance.service},
        }
        await connection.request("InstanceRequest", body, signed)
