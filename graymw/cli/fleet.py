"""Every instance that a registry knows, and the rules it obeys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Final, TypeVar

from graymw.core.instances import Instance
from graymw.errors import GrayError
from graymw.runtime.instance_keeper import InstanceKeeper
from graymw.runtime.ports import CatalogueSource, InstanceSource, Registry, ServiceNames, ServiceSource

T = TypeVar("T")

SECONDS: Final = 5.0
"""How long a registry may take to answer."""

MOST: Final = 200
"""Services that are asked for one by one."""


def fleet(registry: Registry, services: Iterable[str]) -> tuple[Instance, ...]:
    """All instances of some services, by service and place; all that a registry lists where it can.

    Raises:
        GrayError: The registry cannot be read now.
    """
    if isinstance(registry, InstanceKeeper):
        return _sorted(asyncio.run(_asked(registry.source, services)))
    return _sorted(instance for listed in registry.services.values() for instance in listed)


async def _asked(source: InstanceSource, services: Iterable[str]) -> list[Instance]:
    try:
        async with asyncio.timeout(SECONDS):
            if isinstance(source, CatalogueSource):
                catalogue = await _first(source.watch_all())
                return [instance for listed in catalogue.values() for instance in listed]
            return await _one_by_one(source, services)
    except TimeoutError:
        raise GrayError(f"{source.name} did not answer within {SECONDS:.0f} seconds") from None
    except StopAsyncIteration:
        raise GrayError(f"{source.name} said nothing") from None
    finally:
        await source.close()


async def _one_by_one(source: ServiceSource, services: Iterable[str]) -> list[Instance]:
    names = set(services)
    if isinstance(source, ServiceNames):
        names |= await _first(source.watch_names())
    found: list[Instance] = []
    for name in sorted(names)[:MOST]:
        found += await _first(source.watch(name))
    return found


async def _first(reports: AsyncIterator[T]) -> T:
    try:
        return await anext(reports)
    finally:
        if isinstance(reports, AsyncGenerator):
            await reports.aclose()


def _sorted(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Each place once: a registry may list a service under several names."""
    places = {(instance.service, instance.authority): instance for instance in instances}
    return tuple(places[place] for place in sorted(places))
