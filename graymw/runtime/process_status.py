"""What each process says about itself, in files that ``graymw status`` reads."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from graymw.runtime import counters
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.ports import Registry
from graymw.runtime.registration import Registration
from graymw.runtime.settings_follower import SettingsFollower
from graymw.runtime.state_dir import StateDir
from graymw.runtime.watching import Watch, WatchThread, watch_thread

LOOK_SECONDS: Final = 0.5
COUNTER_SECONDS: Final = 3.0
"""Shortest time between two writings for the sake of counters alone."""

HEARTBEAT_SECONDS: Final = 30.0
"""Longest time without a writing: readers on another host can tell the dead only by their silence."""

_PREFIX: Final = "process-"


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process.

    Attributes:
        pid: Number of the process.
        place: Host, and the process namespace where there are such: a pid means something only there.
        birth: When the process began, in the system's own ticks; None where unknown. Tells it from a later namesake.
        service: Logical name.
        version: Version label; empty where unknown.
        revision: Revision of the rules in force; empty without.
        source: Where the rules come from; empty without.
        loaded_at: When the rules in force were loaded, in seconds since the Unix epoch; None without.
        from_disk: Whether they are the copy kept on disk.
        last_error: Why the source's present content is not in force; empty where it is.
        started: When graymw began in this process, in seconds since the Unix epoch.
        updated: When this was written.
        counters: See ``graymw.runtime.counters``.
        registry: Where instances are looked up; empty without.
        registry_error: Why they cannot be looked up now, or this process not be registered; empty without trouble.
        address: Where this process is registered; empty where it is not.
        settings_error: Why the settings files as they are written now are not in force; empty where they are.
        restart_needed: Variables of settings that were changed in the files and count at the next start only.
    """

    pid: int
    place: str
    birth: int | None
    service: str
    version: str
    revision: str
    source: str
    loaded_at: float | None
    from_disk: bool
    last_error: str
    started: float
    updated: float = field(compare=False)
    counters: Mapping[str, int] = field(compare=False, default_factory=dict)
    registry: str = ""
    registry_error: str = ""
    address: str = ""
    settings_error: str = ""
    restart_needed: str = ""

    @property
    def alive(self) -> bool:
        """Whether the process still runs, as far as can be told from here."""
        if self.place != _place():
            return time.time() - self.updated < 3 * HEARTBEAT_SECONDS
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        birth = _birth(self.pid)
        return birth is None or self.birth is None or birth == self.birth


class _About(NamedTuple):
    """What stays the same about a process."""

    pid: int
    place: str
    birth: int | None
    started: float


class StatusWriter:
    """Keeps the status file of this process up to date.

    Args:
        state: Where the files lie.
        service: Logical name of this process.
        version: Its version label.
        keeper: Who knows the rules.
        registry: Who knows the instances; None: nobody does.
        registration: Who keeps this process registered; None: nobody does.
        follower: Who follows the settings files; None: nobody does.
        thread: Who watches.
    """

    def __init__(
        self,
        state: StateDir,
        *,
        service: str,
        version: str,
        keeper: DocumentKeeper,
        registry: Registry | None = None,
        registration: Registration | None = None,
        follower: SettingsFollower | None = None,
        thread: WatchThread = watch_thread,
    ) -> None:
        self._state = state
        self._service = service
        self._version = version
        self._keeper = keeper
        self._registry = registry
        self._registration = registration
        self._follower = follower
        self._thread = thread
        self._watch: Watch | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def start(self) -> None:
        """Write now and on every change, until the process ends; in forked processes too, each for itself."""
        if self._watch is None:
            self._watch = self._thread.run(self._follow, name="status")
            atexit.register(self.stop)

    def stop(self) -> None:
        """Write no more and take the file away."""
        with self._lock:
            if self._watch is None:
                return
            self._watch.cancel()
            self._watch = None
            with contextlib.suppress(OSError):
                self._state.remove(_file_name())
        atexit.unregister(self.stop)

    async def _follow(self) -> None:
        pid = os.getpid()
        if self._pid != pid:  # forked; a parent that was still at work took the key along
            self._pid, self._lock = pid, threading.Lock()
        about = _About(pid, _place(), _birth(pid), time.time())
        written: ProcessStatus | None = None
        with contextlib.suppress(Exception):  # files of the killed would pile up where nobody asks for the status
            read_all(self._state)
        while True:
            now = self._now(about)
            if written is None or _due(written, now):
                self._write(now)
                written = now
            await asyncio.sleep(LOOK_SECONDS)

    def _now(self, about: _About) -> ProcessStatus:
        keeper = self._keeper
        current = keeper.current
        return ProcessStatus(
            pid=about.pid,
            place=about.place,
            birth=about.birth,
            service=self._service,
            version=self._version,
            revision=current.revision,
            source=keeper.source.name if keeper.source is not None else "",
            loaded_at=current.loaded_at,
            from_disk=current.from_disk,
            last_error=keeper.last_error,
            started=about.started,
            updated=time.time(),
            counters=counters.snapshot(),
            **self._routing(),
            **self._settings(),
        )

    def _routing(self) -> dict[str, str]:
        registry, registration = self._registry, self._registration
        errors = [each.last_error for each in (registry, registration) if each is not None and each.last_error]
        own = registration.instance if registration is not None else None
        return {
            "registry": registry.name if registry is not None else "",
            "registry_error": "; ".join(errors),
            "address": own.authority if own is not None else "",
        }

    def _settings(self) -> dict[str, str]:
        follower = self._follower
        if follower is None:
            return {}
        return {"settings_error": follower.last_error, "restart_needed": ", ".join(follower.waiting)}

    def _write(self, status: ProcessStatus) -> None:
        content = json.dumps(dataclasses.asdict(status), ensure_ascii=False, indent=1).encode()
        with self._lock:
            if self._watch is not None:
                self._state.write(_file_name(), content)


def read_all(state: StateDir) -> list[ProcessStatus]:
    """All living processes, by service, version and pid. Files of those that have died are taken away.

    Raises:
        OSError: The directory cannot be read.
    """
    living = []
    for name in state.names():
        if not name.startswith(_PREFIX):
            continue
        status = _parsed(state.read(name))
        if status is not None and status.alive:
            living.append(status)
        elif status is not None:
            state.remove(name)
    return sorted(living, key=lambda status: (status.service, status.version, status.pid))


def _due(written: ProcessStatus, now: ProcessStatus) -> bool:
    age = now.updated - written.updated
    if now != written or age >= HEARTBEAT_SECONDS:
        return True
    return age >= COUNTER_SECONDS and now.counters != written.counters


def _parsed(content: bytes | None) -> ProcessStatus | None:
    """The status in a file; None where there is none, or one of another release of graymw."""
    if content is None:
        return None
    try:
        body: dict[str, Any] = json.loads(content)
        return ProcessStatus(**body)
    except (ValueError, TypeError):
        return None


def _file_name() -> str:
    """Name of this process's file; containers that share the directory may all be process 1."""
    digest = hashlib.sha256(_place().encode()).hexdigest()[:8]
    return f"{_PREFIX}{digest}-{os.getpid()}.json"


def _place() -> str:
    host = socket.gethostname()
    try:
        return f"{host} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:
        return host


def _birth(pid: int) -> int | None:
    """Start time in clock ticks since boot: the 22nd field of proc(5)'s ``stat``, counted after the name."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
