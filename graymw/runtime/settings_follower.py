"""Settings of a process kept as their files have them now, where that is safe while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from graymw.errors import GrayError, SettingsError, SourceError
from graymw.runtime import counters
from graymw.runtime.local_file import SETTLE_SECONDS, LocalFile
from graymw.runtime.watching import Watch, WatchThread, watch_thread
from graymw.settings.live import adopted, changed_names, waiting_names
from graymw.settings.loader import settings_at, settings_candidates
from graymw.settings.place import SettingsPlace
from graymw.settings.schema import Settings

log = logging.getLogger("graymw.settings")

POLL_SECONDS: Final = 0.25
"""How often each settings file is looked at."""


class SettingsFollower:
    """Looks at the settings files, and puts in force what may change in a running process.

    Files that have faults are refused as a whole, and the last good settings stay. Variables of the environment cannot
    change, and stand above the files as at the start.

    Args:
        settings: Of the start; nothing is followed where they did not come from files.
        on_change: Puts settings in force; raises where it cannot, and has changed nothing then.
        thread: Who watches.

    Attributes:
        settings: Those in force.
        last_error: Why the files as they are written now are not in force; empty where they are.
        waiting: Variables whose settings were changed in the files and count at the next start only.
    """

    def __init__(
        self, settings: Settings, *, on_change: Callable[[Settings], None], thread: WatchThread = watch_thread
    ) -> None:
        self.settings = settings
        self.last_error = ""
        self.waiting: tuple[str, ...] = ()
        self._on_change = on_change
        self._thread = thread
        self._warnings = frozenset(settings.warnings)
        self._watch: Watch | None = None

    def start(self) -> None:
        """Look at the files from now on."""
        place = self.settings.place
        if self._watch is None and place is not None and place.files:
            self._watch = self._thread.run(lambda: self._follow(place), name="the settings files")

    def stop(self) -> None:
        """Look no more; the settings stay in force."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _follow(self, place: SettingsPlace) -> None:
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
                self._refuse(error)
            await asyncio.sleep(POLL_SECONDS)

    async def _reload(self, place: SettingsPlace) -> None:
        try:
            written = await _settled(place)
            self._take(written)
        except Exception as error:  # noqa: BLE001 - whatever a file holds, the last good settings stay
            self._refuse(error)
            return
        self.last_error = ""
        self._tell(written)

    def _take(self, written: Settings) -> None:
        before = self.settings
        settings = adopted(before, written)
        if settings is not before:
            self._on_change(settings)
            self.settings = settings
            counters.count("settings.changed")
            log.info("the settings files have changed %s", ", ".join(changed_names(before, settings)))

    def _tell(self, written: Settings) -> None:
        """What is in the files but not in force, and what is odd about them, once each."""
        waiting = waiting_names(self.settings, written)
        if waiting and waiting != self.waiting:
            names = ", ".join(waiting)
            log.warning("changed in the settings files, but in force only after a restart of this process: %s", names)
        self.waiting = waiting
        for warning in frozenset(written.warnings) - self._warnings:
            log.warning("%s", warning)
        self._warnings = frozenset(written.warnings)

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, SettingsError):
            told = "; ".join(map(str, error.problems))
        else:  # the text of an unforeseen error might hold a secret
            told = str(error) if isinstance(error, GrayError) else f"unforeseen {type(error).__name__}"
        if told != self.last_error:
            self.last_error = told
            counters.count("settings.refused")
            log.error("the last good settings stay in force: %s", told)


async def _settled(place: SettingsPlace) -> Settings:
    """The settings as they are written, once no file changes while they are read: one may be half written."""
    files = [LocalFile(path) for path in settings_candidates(place)]
    contents: list[bytes | None] = []
    while True:
        found = await asyncio.to_thread(_attempted, place)
        before, contents = contents, [file.look().content for file in files]
        if contents == before:
            if isinstance(found, SettingsError):
                raise found
            return found
        await asyncio.sleep(SETTLE_SECONDS)


def _attempted(place: SettingsPlace) -> Settings | SettingsError:
    try:
        return settings_at(place)
    except SettingsError as error:
        return error
