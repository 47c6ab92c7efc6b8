"""Instances from the table ``services`` of the settings; where a settings file holds it, as the file has it now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from graymw.core.instances import Instance
from graymw.errors import GrayError, SettingsError, SourceError
from graymw.runtime import counters
from graymw.runtime.local_file import SETTLE_SECONDS, LocalFile
from graymw.runtime.watching import Watch, WatchThread, watch_thread
from graymw.settings.loader import services_at, settings_candidates
from graymw.settings.place import SettingsPlace

log = logging.getLogger("graymw.registry")

POLL_SECONDS: Final = 0.25
"""How often each settings file is looked at."""


class StaticRegistry:
    """A registry that knows what the settings tell it.

    A table that has faults is refused as a whole, and the last good one stays. Every other setting of the file keeps
    the value it had at the start.

    Args:
        services: Instances by service; letter case does not matter, as in host names.
        place: Where the table was found, to look there again; None: it never changes.
        thread: Who watches.

    Attributes:
        last_error: Why the table as it is written now is not in force; empty where it is.
    """

    def __init__(
        self,
        services: Mapping[str, tuple[Instance, ...]],
        *,
        place: SettingsPlace | None = None,
        thread: WatchThread = watch_thread,
    ) -> None:
        self.last_error = ""
        self._services = _by_small_name(services)
        self._place = place
        self._thread = thread
        self._watch: Watch | None = None

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
        """Look at the settings files from now on, where the settings came from files."""
        if self._watch is None and self._place is not None and self._place.files:
            self._watch = self._thread.run(self._follow, name="the table of services")

    def stop(self) -> None:
        """Look no more; the table stays."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _follow(self) -> None:
        place = self._place
        if place is None:
            return
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for path in settings_candidates(place):
                group.create_task(self._look_at(path, changed))
            while True:
                await changed.wait()
                changed.clear()
                await self._reload(place)

    async def _look_at(self, path: Path, changed: asyncio.Event) -> None:
        """Tell whenever a file has come, changed or gone."""
        while True:
            try:
                async for _ in LocalFile(path, poll=POLL_SECONDS).looks():
                    changed.set()
            except SourceError as error:
                self._trouble(error)
            await asyncio.sleep(POLL_SECONDS)

    async def _reload(self, place: SettingsPlace) -> None:
        try:
            found = _by_small_name(await _settled(place))
        except Exception as error:  # noqa: BLE001 - whatever a file holds, the last good table stays
            self._trouble(error)
            return
        self.last_error = ""
        before = self._services
        if found != before:  # the tuple of a service that has not changed stays the same object
            self._services = {name: before[name] if before.get(name) == now else now for name, now in found.items()}
            counters.count("registry.changed")
            log.info("the table of services in force now has %d services", len(found))

    def _trouble(self, error: Exception) -> None:
        if isinstance(error, SettingsError):
            told = "; ".join(map(str, error.problems))
        else:
            told = str(error) if isinstance(error, GrayError) else repr(error)
        if told != self.last_error:
            self.last_error = told
            counters.count("registry.refused")
            log.error("the last good table of services stays: %s", told)


async def _settled(place: SettingsPlace) -> Mapping[str, tuple[Instance, ...]]:
    """The table as it is written, once no file changes while it is read: one may be half written."""
    files = [LocalFile(path) for path in settings_candidates(place)]
    contents: list[bytes | None] = []
    while True:
        table, trouble = await asyncio.to_thread(_attempted, place)
        before, contents = contents, [file.look().content for file in files]
        if contents == before:
            if trouble is not None:
                raise trouble
            return table
        await asyncio.sleep(SETTLE_SECONDS)


def _attempted(place: SettingsPlace) -> tuple[Mapping[str, tuple[Instance, ...]], Exception | None]:
    try:
        return services_at(place), None
    except SettingsError as error:
        return {}, error


def _by_small_name(services: Mapping[str, tuple[Instance, ...]]) -> dict[str, tuple[Instance, ...]]:
    return {service.lower(): instances for service, instances in services.items()}
