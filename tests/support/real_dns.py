"""A real dnsmasq on loopback that knows nothing but what a test wrote."""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from real_servers import LOOPBACK, binary, real_server
from serving import Service

from graymw.demo.processes import free_ports

DOMAIN: Final = "mesh.test"
TTL: Final = 1
"""Seconds for which its answers hold."""

_TRUE_NAME: Final = b"\x07version\x04bind\x00"


class DnsServer:
    """A name server whose port outlives a restart.

    Args:
        folder: Where its configuration and its output are kept.
        domain: The zone it answers for; it refuses any other.
    """

    def __init__(self, folder: Path, *, domain: str = DOMAIN, ttl: int = TTL) -> None:
        self._program = binary("/usr/sbin/dnsmasq", variable="DNSMASQ_BINARY", package="dnsmasq-base")
        (self.port,) = free_ports(1)
        self._folder = folder
        self._domain = domain
        self._ttl = ttl
        self._records: list[str] = []
        self._running = ExitStack()
        self._service: Service | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        config = self._folder / "dnsmasq.conf"
        lines = ["no-resolv", "no-hosts", f"local=/{self._domain}/", f"local-ttl={self._ttl}", *self._records]
        config.write_text("\n".join([*lines, ""]))
        command = [
            self._program, "--keep-in-foreground", "--log-facility=-", f"--conf-file={config}", "--pid-file=",
            f"--port={self.port}", f"--listen-address={LOOPBACK}", "--bind-interfaces", "--user=", "--group=",
        ]  # fmt: skip
        self._service = self._running.enter_context(real_server(command, self._folder, self.port, self._answers))

    def stop(self) -> None:
        self._running.close()
        self._service = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def holds(self, records: Iterable[str]) -> None:
        """Replace all that it knows; a running server restarts, as this one has no other way for SRV records."""
        self._records = list(records)
        if self._service is not None:
            self.restart()

    def hang(self) -> None:
        """Take questions and answer none, until ``go_on``."""
        assert self._service is not None
        self._service.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._service is not None
        self._service.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        """Whether it answers over UDP, whatever it says."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            question = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + _TRUE_NAME + struct.pack(">HH", 16, 3)
            asking.sendto(question, (LOOPBACK, self.port))
            return asking.recv(512)[:2] == question[:2]


def srv(service: str, target: str, port: int, *, priority: int = 1, weight: int = 1) -> str:
    """A line of configuration that makes an SRV record."""
    return f"srv-host={service},{target},{port},{priority},{weight}"


def host(name: str, *addresses: str) -> str:
    """A line that gives a name its addresses; an IPv4 and an IPv6 one at most."""
    return ",".join([f"host-record={name}", *addresses])


@contextmanager
def running(folder: Path, records: Iterable[str] = (), *, domain: str = DOMAIN, ttl: int = TTL) -> Iterator[DnsServer]:
    server = DnsServer(folder, domain=domain, ttl=ttl)
    server.holds(records)
    server.start()
    try:
        yield server
    finally:
        server.stop()
