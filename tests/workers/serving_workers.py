"""A service under a real server of several processes, registered in a real etcd, its rules in a file that changes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from real_etcd import Etcd
from serving import Service, free_port, serving
from waiting import eventually

PREFIX: Final = "graymw/services/orders/"
_ESTABLISHED: Final = "01"  # proc(5), as include/net/tcp_states.h numbers it


class Workers:
    """Several processes that serve one address."""

    def __init__(self, service: Service, etcd: Etcd, folder: Path) -> None:
        self.service = service
        self.etcd = etcd
        self._folder = folder

    @property
    def port(self) -> int:
        return self.service.port

    def is_registered(self) -> bool:
        return bool(self.etcd.keys(PREFIX))

    def share(self, percentage: str) -> None:
        write_rules(self._folder, percentage)

    def versions(self) -> dict[int, str]:
        """By process, the version of its latest answer; asked at once, so that nobody serves them all."""
        with ThreadPoolExecutor(8) as asking:
            answers = [answer for answer in asking.map(self._ask, range(16)) if answer]
        return dict(answers)

    def _ask(self, _number: int) -> tuple[int, str] | None:
        try:
            pid, version = self.service.ask("/0.03").decode().split()
        except OSError:  # a worker that ends may take a connection along
            return None
        return int(pid), version

    def all_on(self, version: str, processes: int) -> bool:
        versions = self.versions()
        return len(versions) == processes and set(versions.values()) == {version}

    def wait_until(self, processes: int) -> set[int]:
        """Wait until so many processes answer, as one instance; who they are."""
        seen: set[int] = set()

        def all_answered() -> bool:
            seen.update(self.versions())
            return len(seen) == processes

        eventually(all_answered, 30)
        eventually(self.is_registered, 20)
        return seen


def write_rules(folder: Path, percentage: str) -> None:
    new = folder / "rules.new"
    new.write_text(f"schema: 1\nreleases: {{shop: {{stable: v1, rules: [{{split: {{v2: {percentage}}}}}]}}}}\n")
    new.replace(folder / "rules.yaml")


def connections(etcd: Etcd) -> dict[int, int]:
    """Connections to the registry by process, ours left out; as the kernel knows them."""
    ours = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _ESTABLISHED and int(fields[2].partition(":")[2], 16) == etcd.port:
            ours.add(fields[9])
    found: dict[int, int] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            count = sum(inode in ours for inode in _sockets(process))
            if count:
                found[int(process.name)] = count
    return found


def _sockets(process: Path) -> Iterator[str]:
    try:
        entries = list((process / "fd").iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
        except OSError:
            continue
        if match is not None:
            yield match[1]


def environment(etcd: Etcd, folder: Path, **more: str) -> dict[str, str]:
    return {
        "PYTHONPATH": str(Path(__file__).parent),
        "GRAYMW_REGISTRY": f"etcd://127.0.0.1:{etcd.port}",
        "GRAYMW_REGISTER": "true",
        "GRAYMW_SERVICE": "orders",
        "GRAYMW_VERSION": "v1",
        "GRAYMW_RULES": str(folder / "rules.yaml"),
        "GRAYMW_STATE_DIR": str(folder / "state"),
        **more,
    }


@contextmanager
def workers(
    command: Sequence[str], etcd: Etcd, folder: Path, more: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[Workers]:
    """Run a server; ``{port}`` in its command is where it is to listen."""
    write_rules(folder, "0%")
    port = port or free_port()
    filled = [word.replace("{port}", str(port)) for word in command]
    with serving(filled, environment(etcd, folder, **(more or {})), folder, port, cwd=folder) as service:
        yield Workers(service, etcd, folder)
