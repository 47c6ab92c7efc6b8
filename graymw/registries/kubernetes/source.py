"""The services of a Kubernetes cluster, watched as a whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple

from graymw.core.instances import Instance
from graymw.registries.kubernetes.catalogue import Catalogue
from graymw.registries.kubernetes.objects import SERVICE_NAME
from graymw.registries.kubernetes.options import read_url
from graymw.remote.http import library
from graymw.remote.kubernetes.client import (
    ENDPOINT_SLICES,
    PODS,
    SERVICES,
    Event,
    ForbiddenError,
    KubernetesClient,
    Listed,
    Resource,
)
from graymw.remote.kubernetes.server import SERVICE_ACCOUNT
from graymw.runtime import counters
from graymw.settings.access import Access

log = logging.getLogger("graymw.registry")

SETTLE_SECONDS: Final = 0.02
"""How long more changes are waited for: a rollout makes many at one moment."""


class Watched(NamedTuple):
    """One watch: who takes its events, which objects it is of, in which namespace, and which of them."""

    take: Callable[[Event, str], None]
    resource: Resource
    namespace: str
    selector: str = ""


class KubernetesServices:
    """A ``CatalogueSource`` over EndpointSlices, and over Pods where these tell versions.

    Args:
        url: As ``read_url`` takes it.
        access: Credentials of the settings.
        environ: Of the process.
        account: Folder of the pod's service account.

    Raises:
        SettingsError: The URL is wrong, or names no server outside of a cluster.
        MissingExtraError: The HTTP library is not installed.
    """

    hold_seconds: Final = 0.0
    """A pod that the platform takes out is gone, and its address may not even refuse: nobody is kept a while longer."""

    def __init__(
        self,
        url: str,
        access: Access,
        *,
        environ: Mapping[str, str] | None = None,
        account: Path = SERVICE_ACCOUNT,
    ) -> None:
        self._server, self._options = read_url(url, access, environ=environ, account=account)
        library("kubernetes")

    @property
    def name(self) -> str:
        """The API server, and which namespaces are read."""
        return f"kubernetes {', '.join(self._options.namespaces) or 'all namespaces'} at {self._server.url}"

    async def watch_all(self) -> AsyncIterator[Mapping[str, tuple[Instance, ...]]]:
        """Instances that take calls, by every name of their service; as they are now, then whenever they have changed.

        Raises:
            SourceError: The API server is out of reach, or refuses.
        """
        client = KubernetesClient(self._server)
        looking = _Looking(client, Catalogue(self._options))
        told: Mapping[str, tuple[Instance, ...]] | None = None
        try:
            for watch in self._watched(looking.catalogue):
                looking.begin(watch)
            while True:
                await looking.go_on()
                if looking.catalogue.asks_for_services and not looking.services:
                    looking.services = True
                    for namespace in self._options.namespaces or ("",):
                        looking.begin(Watched(looking.catalogue.take_services, SERVICES, namespace))
                if looking.unlisted:
                    continue
                services = looking.catalogue.services()
                if services is not told:
                    told = services
                    yield services
        finally:
            await looking.end()
            await client.close()

    async def close(self) -> None:
        """Nothing is kept between two watches."""

    def _watched(self, catalogue: Catalogue) -> list[Watched]:
        options = self._options
        # Slices that a person made for no Service have no such label.
        selector = ",".join(part for part in (SERVICE_NAME, options.selector) if part)
        watched: list[Watched] = []
        for namespace in options.namespaces or ("",):
            if options.versions == "pods":
                watched.append(Watched(catalogue.take_pods, PODS, namespace))
            watched.append(Watched(catalogue.take_slices, ENDPOINT_SLICES, namespace, selector))
        return watched


class _Looking:
    """Several watches at once, whose events make one catalogue.

    Attributes:
        unlisted: Watches that have not yet told what there is.
        services: Whether Services are watched too.
    """

    def __init__(self, client: KubernetesClient, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.unlisted: set[Watched] = set()
        self.services = False
        self._client = client
        self._items: asyncio.Queue[tuple[Watched, Event | Exception]] = asyncio.Queue()
        self._feeds: list[asyncio.Task[None]] = []

    def begin(self, watch: Watched) -> None:
        """Watch this too."""
        self.unlisted.add(watch)
        self._feeds.append(asyncio.create_task(self._feed(watch)))

    async def go_on(self) -> None:
        """Take what has come, once something has and others had the time to come.

        Raises:
            SourceError: A watch is broken, or not allowed.
        """
        items = [await self._items.get()]
        await asyncio.sleep(SETTLE_SECONDS)
        while not self._items.empty():
            items.append(self._items.get_nowait())
        for watch, item in items:
            if isinstance(item, ForbiddenError) and watch.resource is SERVICES:
                told = "%s; until then, calls to Services with several ports go as addressed"
                counters.once(log, f"kubernetes:{item}", logging.WARNING, told, item)
            elif isinstance(item, Exception):
                raise item
            else:
                watch.take(item, watch.namespace)
                if not isinstance(item, Listed):
                    continue
            self.unlisted.discard(watch)

    async def end(self) -> None:
        """Watch nothing any more."""
        for feed in self._feeds:
            feed.cancel()
        await asyncio.gather(*self._feeds, return_exceptions=True)

    async def _feed(self, watch: Watched) -> None:
        """Note what one watch tells; an error is the last of it."""
        try:
            async with aclosing(self._client.follow(watch.resource, watch.namespace, watch.selector)) as events:
                async for event in events:
                    self._items.put_nowait((watch, event))
        except Exception as error:  # noqa: BLE001 - raised by ``go_on``
            self._items.put_nowait((watch, error))
