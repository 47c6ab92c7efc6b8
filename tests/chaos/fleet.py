"""Instances of a chain in processes of their own, killed and started again by tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from serving import free_port

SERVICES: Final = ("edge", "orders", "payments")
VERSIONS: Final = ("v1", "v2")
COPIES: Final = 3
_PROGRAM: Final = Path(__file__).with_name("service.py")


class Group(NamedTuple):
    """All instances of one version of one service."""

    service: str
    version: str


@dataclass
class Member:
    """One instance. It comes back at another port: at the old one calls might find it before it has looked around."""

    group: Group
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)


class Fleet:
    """Three services in two versions, three instances of each.

    Args:
        environ: For each process, besides who it is.
        folder: Where their output is kept.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder
        self.members = [
            Member(Group(service, version), free_port())
            for service in SERVICES
            for version in VERSIONS
            for _ in range(COPIES)
        ]

    def of(self, group: Group) -> list[Member]:
        return [member for member in self.members if member.group == group]

    def start(self, member: Member, *, again: bool = True) -> None:
        if again:
            member.port = free_port()
        service, version = member.group
        own = {"GRAYMW_SERVICE": service, "GRAYMW_VERSION": version, "GRAYMW_REGISTER": "true"}
        with (self._folder / f"{service}-{version}-{member.port}.txt").open("ab") as output:
            member.process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), str(member.port)],
                env={**self._environ, **own},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self, member: Member, how: signal.Signals = signal.SIGKILL) -> None:
        if member.process is not None:
            member.process.send_signal(how)
            member.process.wait(20)
            member.process = None

    def end_all(self) -> None:
        for member in self.members:
            if member.process is not None:
                member.process.kill()
        for member in self.members:
            if member.process is not None:
                member.process.wait(20)

    def output(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("*-*-*.txt")))
