"""The services of a Kubernetes cluster, watched as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from graymw.core.instances import Instance
from graymw.registries.kubernetes.catalogue import Catalogue
from graymw.registries.kubernetes.objects import SERVICE_NAME
from graymw.registries.kubernetes.options import read_url
from graymw.remote.http import library
from graymw.remote.kubernetes.client import ENDPOINT_SLICES, PODS, Event, KubernetesClient, Listed, Resource
from graymw.remote.kubernetes.server import SERVICE_ACCOUNT
from graymw.settings.access import Access

SETTLE_SECONDS: Final = 0.02
"""How long more changes are waited for: a rollout makes many at one moment."""


class Watched(NamedTuple):
    """One watch: who takes its events, which objects it is of, in which namespace, and which of them."""

    take: Callable[[Event, str], None]
    resource: Resource
    namespace: str
    selector: str = ""


_Item: TypeAlias = tuple[int, Event] | Exception


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
        catalogue = Catalogue(self._options)
        client = KubernetesClient(self._server)
        items: asyncio.Queue[_Item] = asyncio.Queue()
        watched = self._watched(catalogue)
        feeds = [
            asyncio.create_task(_feed(items, place, client.follow(watch.resource, watch.namespace, watch.selector)))
            for place, watch in enumerate(watched)
        ]
        unlisted = set(range(len(watched)))
        told: Mapping[str, tuple[Instance, ...]] | None = None
        try:
            while True:
                for item in await _drained(items):
                    if isinstance(item, Exception):
                        raise item
                    place, event = item
                    watched[place].take(event, watched[place].namespace)
                    if isinstance(event, Listed):
                        unlisted.discard(place)
                if unlisted:
                    continue
                services = catalogue.services()
                if services is not told:
                    told = services
                    yield services
        finally:
            for feed in feeds:
                feed.cancel()
            await asyncio.gather(*feeds, return_exceptions=True)
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


async def _drained(items: asyncio.Queue[_Item]) -> list[_Item]:
    """All that has come, once something has and others had the time to come."""
    found = [await items.get()]
    await asyncio.sleep(SETTLE_SECONDS)
    while not items.empty():
        found.append(items.get_nowait())
    return found


async def _feed(items: asyncio.Queue[_Item], place: int, watch: AsyncGenerator[Event, None]) -> None:
    """Put what one watch tells into the queue; an error is the last of it."""
    try:
        async with aclosing(watch) as events:
            async for event in events:
                items.put_nowait((place, event))
    except Exception as error:  # noqa: BLE001 - raised where the queue is read
        items.put_nowait(error)
