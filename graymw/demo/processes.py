"""The services' processes: started each in its own group, watched until ready, ended together."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from graymw.demo.guardian import GRACE_SECONDS, signal_group
from graymw.demo.interruption import Interruption

LOG_TAIL_LINES: Final = 20
_READY_SECONDS: Final = 60.0
_PORTS: Final = range(18_000, 32_000)
"""Below every system's range for outgoing connections, so that a free port stays free until the service binds it."""


class ServiceFailedError(Exception):
    """A service did not start, or ended on its own."""

    def __init__(self, service: Service, what: str) -> None:
        self.service = service
        self.what = what
        self.log_tail = service.log_tail()
        super().__init__(f"{service} {what}")


@dataclass
class Service:
    """One process of the chain.

    Attributes:
        server: What runs it, for people: ``Flask under gunicorn``.
        log: Where its output goes.
    """

    name: str
    version: str
    server: str
    port: int
    command: list[str]
    environ: Mapping[str, str] = field(repr=False)
    cwd: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process, None before the start."""
        return None if self.process is None else self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def log_text(self) -> str:
        """Its output so far."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text(errors="replace")
        return ""

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> list[str]:
        """Last lines of its output."""
        return self.log_text().splitlines()[-lines:]

    def answers(self) -> bool:
        """Whether it answers ``GET /health`` now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_ports(count: int) -> list[int]:
    """Different ports on loopback that nothing listens on."""
    found: list[int] = []
    start = secrets.randbelow(len(_PORTS))  # two demos at once do not meet
    for offset in range(len(_PORTS)):
        port = _PORTS[(start + offset) % len(_PORTS)]
        if len(found) < count and _is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"no {count} free ports on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Processes:
    """Starts services and, as a context manager, ends all it started: on success, failure and interruption alike."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._started: list[Service] = []
        self._guardian: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._interruption.shielded():
            self._guardian = subprocess.Popen(
                [sys.executable, "-m", "graymw.demo.guardian"], stdin=subprocess.PIPE, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        with self._interruption.shielded():
            self._end_all()
            self._dismiss_guardian()

    def start(self, services: Iterable[Service]) -> None:
        """Start services without waiting for them."""
        for service in services:
            with self._interruption.shielded(), service.log.open("ab") as log:
                service.process = subprocess.Popen(  # noqa: S603 - the command is ours
                    service.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(service.environ),
                    cwd=service.cwd,
                    start_new_session=True,
                )
                self._started.append(service)
                self._tell_guardian("watch", service.process.pid)

    def wait_ready(self, on_ready: Callable[[Service], None], timeout: float = _READY_SECONDS) -> None:
        """Wait until every started service answers.

        Raises:
            ServiceFailedError: One ended, or did not answer in ``timeout`` seconds.
        """
        waiting = list(self._started)
        deadline = time.monotonic() + timeout
        while waiting:
            for service in list(waiting):
                if not service.is_running:
                    raise ServiceFailedError(service, f"ended at once with exit code {_exit_code(service)}")
                if service.answers():
                    waiting.remove(service)
                    on_ready(service)
            if waiting and time.monotonic() > deadline:
                raise ServiceFailedError(waiting[0], f"did not answer within {timeout:.0f} s")
            time.sleep(0.05)

    def check_running(self) -> None:
        """Raise ``ServiceFailedError`` where a service has ended on its own."""
        for service in self._started:
            if not service.is_running:
                raise ServiceFailedError(service, f"ended on its own with exit code {_exit_code(service)}")

    def _end_all(self) -> None:
        """Ask all to end, callers before the called; what has not ended in time, or at a second Ctrl-C, is made to."""
        left = {service.pid: service for service in reversed(self._started) if service.pid is not None}
        for group in left:
            signal_group(group, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while left:
            for group, service in list(left.items()):
                # is_running first: it reaps the leader, which as a zombie would keep its group alive.
                if not service.is_running and not signal_group(group, 0):
                    del left[group]
                    self._tell_guardian("forget", group)
            if time.monotonic() > deadline or self._interruption.pending is not None:
                for group in left:
                    signal_group(group, signal.SIGKILL)
            time.sleep(0.02)

    def _tell_guardian(self, word: str, group: int) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guardian.stdin.write(f"{word} {group}\n".encode())
                self._guardian.stdin.flush()

    def _dismiss_guardian(self) -> None:
        if self._guardian is not None:
            self._guardian.communicate()
            self._guardian = None


def _exit_code(service: Service) -> int | None:
    return None if service.process is None else service.process.poll()
