"""Instances from the table ``services`` of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from graymw.core.instances import Instance


class StaticRegistry:
    """A registry that knows what it was told and never changes.

    Args:
        services: Instances by service; letter case does not matter, as in host names.
    """

    def __init__(self, services: Mapping[str, tuple[Instance, ...]]) -> None:
        self._services = {service.lower(): instances for service, instances in services.items()}

    @property
    def name(self) -> str:
        """The registry for people."""
        return "static"

    def instances(self, service: str) -> tuple[Instance, ...] | None:
        """Instances of a service; None where the table does not name it."""
        return self._services.get(service.lower())

    async def load(self, service: str) -> tuple[Instance, ...]:
        """Instances of a service; empty where the table does not name it."""
        return self._services.get(service.lower(), ())

    async def watch(self, service: str) -> AsyncIterator[tuple[Instance, ...]]:
        """Instances of a service, once."""
        yield await self.load(service)
        await asyncio.Event().wait()
