"""Instances in Nacos, discovered by its pushes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from graymw.core.instances import Instance
from graymw.errors import Problem, SettingsError, SourceError
from graymw.registries.nacos_entries import instances_of
from graymw.remote.http import require
from graymw.remote.loop_bound import LoopBound
from graymw.remote.nacos.connection import RESET, NacosConnection
from graymw.remote.nacos.credentials import Memory
from graymw.remote.nacos.place import NacosPlace, nacos_place
from graymw.remote.nacos.session import NacosSession, NoPushError
from graymw.runtime import counters
from graymw.settings.access import Access

log = logging.getLogger("graymw.registry")

SETTING: Final = "GRAYMW_REGISTRY"
EXAMPLE: Final = "nacos://127.0.0.1:8848?namespace=public&group=DEFAULT_GROUP"
POLL_SECONDS: Final = 2.0
_PUSH: Final = "NotifySubscriberRequest"


def registry_place(url: str) -> NacosPlace:
    """Take a registry's URL apart: ``nacos://HOST:8848?namespace=&group=&cluster=&register=&grpc_port=``.

    Raises:
        SettingsError: It is no such URL.
    """
    place = nacos_place(url, setting=SETTING, example=EXAMPLE, parameters=("cluster", "register"))
    if place.url.path.strip("/"):
        raise SettingsError([Problem(SETTING, "a registry in Nacos has no path", f"write it like {EXAMPLE}")])
    if place.url.query.get("register", "heartbeat") not in ("heartbeat", "connection"):
        told = f"nobody registers by {place.url.query['register']}"
        raise SettingsError([Problem(SETTING, told, "write register=heartbeat or register=connection")])
    return place


class NacosServices:
    """Healthy, enabled instances of services.

    Args:
        url: ``nacos://HOST:8848?namespace=&group=&cluster=``; several hosts are servers of one cluster of Nacos.
        access: Log-in, access key, certificates.
        poll_seconds: Seconds between two questions, about, where nothing can be pushed.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access, *, poll_seconds: float = POLL_SECONDS) -> None:
        require("nacos")
        self._place = registry_place(url)
        self._cluster = self._place.url.query.get("cluster", "")
        self._poll_seconds = poll_seconds
        memory = Memory()
        self._session = LoopBound(lambda: NacosSession(self._place, access, "naming", memory))

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._place.url.shown

    async def watch(self, service: str) -> AsyncIterator[tuple[Instance, ...]]:
        """Healthy instances of a service as they are now, then again whenever they have changed.

        Raises:
            SourceError: Nacos cannot be asked now, or the connection that pushed is lost.
        """
        session = self._session.get()
        seen: tuple[Instance, ...] | None = None
        while True:
            try:
                connection = await session.connection()
            except NoPushError as error:
                counters.once(log, f"nacos:{self.name}", logging.INFO, "%s; it is polled", error)
                reports = self._polled(session, service)
            else:
                reports = self._pushed(connection, service)
            async for report in reports:
                if report != seen:
                    yield report
                    seen = report

    async def close(self) -> None:
        """Let go of connections; a later ``watch`` makes new ones."""
        session = self._session.take()
        if session is not None:
            await session.close()

    async def _pushed(self, connection: NacosConnection, service: str) -> AsyncIterator[tuple[Instance, ...]]:
        """Subscribe; what is pushed may overtake the answer, and an older list a newer one."""
        arrived: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        subscription = {"namespace": self._place.namespace, "groupName": self._place.group, "serviceName": service}

        def take(push: Mapping[str, Any]) -> None:
            info = push.get("serviceInfo")
            if isinstance(info, Mapping) and _names(info, self._place.group, service):
                arrived.put_nowait(info)

        def end(_: asyncio.Future[str]) -> None:
            arrived.put_nowait(None)

        forget = connection.on(_PUSH, take)
        connection.lost.add_done_callback(end)
        try:
            signed = self._session.get().http.credentials.naming_signature(self._place.group, service)
            body = {**subscription, "clusters": self._cluster, "subscribe": True}
            answer = await connection.request("SubscribeServiceRequest", body, signed)
            info = answer.get("serviceInfo")
            arrived.put_nowait(info if isinstance(info, Mapping) else {})
            newest = 0
            while (info := await arrived.get()) is not None:
                age = info.get("lastRefTime")
                age = age if isinstance(age, int) else newest
                if age >= newest:
                    newest = age
                    yield instances_of(service, self._in_cluster(info.get("hosts")))
            if connection.lost.result() != RESET:
                raise SourceError(f"{self.name}: the connection is lost: {connection.lost.result()}")
        finally:
            forget()
            connection.lost.remove_done_callback(end)

    async def _polled(self, session: NacosSession, service: str) -> AsyncIterator[tuple[Instance, ...]]:
        """Ask again and again, until it is time to try for pushes."""
        while True:
            hosts = await session.http.instances(service, self._cluster)
            session.polled()
            yield instances_of(service, self._in_cluster(hosts))
            await asyncio.sleep(self._poll_seconds * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
            if session.may_push:
                return

    def _in_cluster(self, hosts: Any) -> list[Any]:
        """Some versions push all clusters whichever were asked for."""
        found = hosts if isinstance(hosts, list) else []
        wanted = [name for name in self._cluster.split(",") if name]
        return [host for host in found if not wanted or _cluster(host) in wanted]


def _names(info: Mapping[str, Any], group: str, service: str) -> bool:
    """Whether a push is about a service; its name may carry the group."""
    name = str(info.get("name", ""))
    named_group, separator, plain = name.rpartition("@@")
    return plain == service and (named_group if separator else info.get("groupName", group)) == group


def _cluster(host: Any) -> object:
    return host.get("clusterName") if isinstance(host, Mapping) else None
