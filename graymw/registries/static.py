"""Instances from the table ``services`` of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graymw.core.instances import Instance


class StaticRegistry:
    """A registry that knows what it was told and never changes.

    Args:
        services: Instances by service; letter case does not matter, as in host names.
    """

    def __init__(self, services: Mapping[str, tuple[Instance, ...]]) -> None:
        self.last_error = ""
        self._services = {service.lower(): instances for service, instances in services.items()}

    @property
    def name(self) -> str:
        """The registry for people."""
        return "static"

    @property
    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        """The table."""
        return self._services

    def instances(self, service: str) -> tuple[Instance, ...] | None:
        """Instances of a service; None where the table does not name it."""
        return self._services.get(service.lower())

    def want(self, services: Iterable[str]) -> None:
        """The table is whole already."""

    def start(self) -> None:
        """The table stays as it is."""

    def stop(self) -> None:
        """The table stays as it is."""
