"""Instances from the table ``services`` of the settings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from graymw.core.instances import Instance
from graymw.runtime import counters

log = logging.getLogger("graymw.registry")


class StaticRegistry:
    """A registry that knows what the settings tell it.

    Args:
        services: Instances by service; letter case does not matter, as in host names.

    Attributes:
        last_error: Always empty: a table with faults is refused with the settings that it is in.
    """

    def __init__(self, services: Mapping[str, tuple[Instance, ...]]) -> None:
        self.last_error = ""
        self._services = _by_small_name(services)

    @property
    def name(self) -> str:
        """The registry for people."""
        return "static"

    @property
    def ready(self) -> bool:
        """The table is known from the start."""
        return True

    @property
    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        """The table."""
        return self._services

    def instances(self, service: str) -> tuple[Instance, ...] | None:
        """Instances of a service; None where the table does not name it."""
        return self._services.get(service.lower())

    def adopt(self, services: Mapping[str, tuple[Instance, ...]]) -> None:
        """Put another table in the place of this one; the tuple of an unchanged service stays the same object."""
        before, found = self._services, _by_small_name(services)
        if found != before:
            self._services = {name: before[name] if before.get(name) == now else now for name, now in found.items()}
            counters.count("registry.changed")
            log.info("the table of services in force now has %d services", len(found))

    def want(self, services: Iterable[str]) -> None:
        """The table is whole already."""

    def start(self) -> None:
        """Nothing is to be kept current: whoever follows the settings gives the table."""

    def stop(self) -> None:
        """See ``start``."""


def _by_small_name(services: Mapping[str, tuple[Instance, ...]]) -> dict[str, tuple[Instance, ...]]:
    return {service.lower(): instances for service, instances in services.items()}
