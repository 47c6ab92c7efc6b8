"""The table of a settings file, and somebody who edits it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from graymw.registries.static import StaticRegistry
from graymw.runtime.ports import Registry
from graymw.runtime.settings_follower import SettingsFollower
from graymw.runtime.watching import WatchThread
from graymw.settings.loader import load_settings
from graymw.settings.schema import Settings
from registry_backends import Opened

NO_SERVER: Final = "a file has no server"
NO_REGISTRATION: Final = "nothing registers in a file by itself"
VALIDATED: Final = "a table with faults is refused; tests/runtime/test_settings_follower.py has what is said of it"
_OWN: Final = ("version", "weight", "zone", "gray")


class FollowedTable(StaticRegistry):
    """A table and who follows its file, as ``Upkeep`` has them beside each other."""

    def __init__(self, settings: Settings, thread: WatchThread) -> None:
        super().__init__(settings.services)
        self._follower = SettingsFollower(settings, on_change=lambda now: self.adopt(now.services), thread=thread)

    def start(self) -> None:
        self._follower.start()

    def stop(self) -> None:
        self._follower.stop()


class StaticBackend:
    """A ``graymw.yaml``."""

    lacks: Mapping[str, str] = {
        "test_metadata_of_strangers_breaks_nothing": VALIDATED,
        "test_a_restart_of_the_server_loses_nothing": NO_SERVER,
        "test_a_crowd_comes_back_after_a_restart_of_the_server": NO_SERVER,
        "test_while_the_server_is_gone_the_last_known_stay": NO_SERVER,
        "test_it_begins_while_the_server_is_down": NO_SERVER,
        "test_a_wrong_login_is_told_and_breaks_nothing": NO_SERVER,
        "test_a_process_registers_itself_and_leaves_when_it_is_told_to_end": NO_REGISTRATION,
        "test_a_killed_process_is_let_go_when_its_heartbeats_are_missed": NO_REGISTRATION,
        "test_a_registration_that_the_registry_lost_is_restored": NO_REGISTRATION,
        "test_a_registration_outlives_a_restart_of_the_server": NO_REGISTRATION,
        "test_a_process_that_begins_while_the_server_is_down_registers_later": NO_REGISTRATION,
        "test_an_address_is_left_by_the_last_of_its_processes": NO_REGISTRATION,
    }
    seconds = 5.0
    expiry_seconds = 0.0

    def __init__(self, folder: Path) -> None:
        self._path = folder / "graymw.yaml"
        self._table: dict[str, dict[str, dict[str, Any]]] = {}
        self._write()

    def settings(self) -> dict[str, object]:
        return {"registry": "static"}

    def registry(self, thread: WatchThread) -> Registry:
        """As a process makes it; it is no source that a keeper would watch."""
        return FollowedTable(load_settings(environ={}, directory=self._path.parent), thread)

    def wrong_login(self) -> dict[str, object] | None:
        return None

    def put(self, service: str, host: str, port: int, metadata: Mapping[str, str]) -> None:
        url = f"http://{host}:{port}"
        told: dict[str, Any] = {key: metadata[key] for key in _OWN if key in metadata}
        rest = {key: value for key, value in metadata.items() if key not in _OWN}
        self._table.setdefault(service, {})[url] = {"url": url, **told, "metadata": rest}
        self._write()

    def remove(self, service: str, host: str, port: int) -> None:
        del self._table[service][f"http://{host}:{port}"]
        self._write()

    def start(self) -> None:
        raise AssertionError(NO_SERVER)

    def stop(self) -> None:
        raise AssertionError(NO_SERVER)

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"services": {name: list(it.values()) for name, it in self._table.items()}}))
        new.replace(self._path)


@contextmanager
def _opened(folder: Path) -> Iterator[StaticBackend]:
    yield StaticBackend(folder)


VARIANTS: Final[dict[str, Opened]] = {"": _opened}
