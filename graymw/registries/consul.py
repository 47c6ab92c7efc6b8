"""Instances in Consul, discovered by blocking queries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Final
from urllib.parse import quote

from graymw.core.instances import Instance
from graymw.errors import Problem, SettingsError, SourceError
from graymw.registries.consul_entries import instances_of
from graymw.remote.consul import PORT, ConsulClient
from graymw.remote.http import Answer, require
from graymw.remote.loop_bound import LoopBound
from graymw.remote.url import BackendUrl, parse_backend_url
from graymw.settings.access import Access

SETTING: Final = "GRAYMW_REGISTRY"

MAX_BLOCKING: Final = 16
"""Services of one process that are watched by a blocking query each, which is a connection each. An agent takes 200 of
one address (``limits.http_max_conns_per_client``), shared by all processes there; further services are polled."""

POLL_SECONDS: Final = 2.0
_POLLS_AT_ONCE: Final = 2

_OWN: Final = "consul"
"""The service that Consul's servers register for themselves: their RPC port, which no application calls."""


def registry_url(url: str) -> BackendUrl:
    """Take a registry's URL apart: ``consul://HOST:8500?datacenter=&namespace=&tag=``.

    Raises:
        SettingsError: It is no such URL.
    """
    example = "consul://127.0.0.1:8500"
    parameters = ("datacenter", "namespace", "tag")
    parsed = parse_backend_url(url, setting=SETTING, default_port=PORT, parameters=parameters, example=example)
    if parsed.path.strip("/"):
        raise SettingsError([Problem(SETTING, "a registry in Consul has no path", f"write it like {example}")])
    return parsed


class ConsulServices:
    """Healthy instances of services, as the servers of a datacenter know them.

    Args:
        url: ``consul://HOST:8500?datacenter=&namespace=&tag=``; with a tag, only instances that carry it.
        access: Token and certificates.
        max_blocking: Services watched by a blocking query each; those beyond are polled over shared connections.
        poll_seconds: Seconds between two polls, about.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(
        self, url: str, access: Access, *, max_blocking: int = MAX_BLOCKING, poll_seconds: float = POLL_SECONDS
    ) -> None:
        require("consul")
        self._url = registry_url(url)
        self._access = access
        self._tag = self._url.query.get("tag", "")
        self._poll_seconds = poll_seconds
        self._shared = LoopBound(lambda: _Shared(self._client(), max_blocking))

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._url.shown

    async def watch(self, service: str) -> AsyncGenerator[tuple[Instance, ...]]:
        """Healthy instances of a service as they are now, then again whenever they have changed.

        Raises:
            SourceError: Consul cannot be asked now, or the token may not read the service.
        """
        path = f"/v1/health/service/{quote(service, safe='')}"
        params = {"passing": "1", **({"tag": self._tag} if self._tag else {})}
        shared = self._shared.get()
        seen: tuple[Instance, ...] | None = None
        with shared.place() as is_free:
            reports = self._blocking(path, params) if is_free else self._polled(shared, path, params)
            async with aclosing(reports) as answers:
                async for answer in answers:
                    found = instances_of(service, _entries(answer, self.name))
                    if found == seen:
                        continue
                    if not found:
                        await shared.client.check_service(service, answer)
                    yield found
                    seen = found

    async def watch_names(self) -> AsyncGenerator[frozenset[str]]:
        """Names of all services as they are now, then again whenever they have changed.

        Raises:
            SourceError: Consul cannot be asked now.
        """
        seen: frozenset[str] | None = None
        async with aclosing(self._blocking("/v1/catalog/services", {})) as answers:
            async for answer in answers:
                services = _tags(answer, self.name)
                found = frozenset(
                    name for name, tags in services.items() if name != _OWN and (not self._tag or self._tag in tags)
                )
                if found != seen:
                    yield found
                    seen = found

    async def close(self) -> None:
        """Close the shared connections; each blocking query has its own and closes it when its watch ends."""
        shared = self._shared.take()
        if shared is not None:
            await shared.client.close()

    async def _blocking(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[Answer]:
        async with self._client() as client, aclosing(client.changes(path, params)) as answers:
            async for answer in answers:
                yield answer

    async def _polled(self, shared: _Shared, path: str, params: Mapping[str, str]) -> AsyncGenerator[Answer]:
        while True:
            async with shared.polling:
                answer = await shared.client.read(path, params)
            yield answer
            await asyncio.sleep(self._poll_seconds * random.uniform(0.75, 1.25))  # noqa: S311 - no secret

    def _client(self) -> ConsulClient:
        return ConsulClient(self._url, self._access, setting=SETTING)


class _Shared:
    """What the watches of one event loop share."""

    def __init__(self, client: ConsulClient, places: int) -> None:
        self.client = client
        self.polling = asyncio.Semaphore(_POLLS_AT_ONCE)
        self._free = places

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Take a place for a blocking query; False where none is left."""
        if self._free <= 0:
            yield False
            return
        self._free -= 1
        try:
            yield True
        finally:
            self._free += 1


def _entries(answer: Answer, name: str) -> list[Mapping[str, Any]]:
    entries = answer.json()
    if isinstance(entries, list):
        return [entry for entry in entries if isinstance(entry, dict)]
    raise _stranger(answer, name)


def _tags(answer: Answer, name: str) -> Mapping[str, list[str]]:
    """Tags by service."""
    services = answer.json()
    if isinstance(services, dict):
        return {service: tags or [] for service, tags in services.items()}
    raise _stranger(answer, name)


def _stranger(answer: Answer, name: str) -> SourceError:
    return SourceError(f"{name} answers {answer.status} {answer.shown!r}; check that it is Consul that listens there")
