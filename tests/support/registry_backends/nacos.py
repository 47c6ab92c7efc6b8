"""Nacos of both release lines: open, with users, with users and TLS, and polled where nothing can be pushed.

A Nacos takes ten seconds to start, so that each variant has one for all tests, and each test a group of its own.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from certificates import Certificates, certificates
from real_nacos import PASSWORD, USER, Nacos

from registry_backends import Opened

AS_PUSHED: Final = "as where it is pushed; a start takes ten seconds"
_SAME: Final = (
    "test_a_restart_of_the_server_loses_nothing",
    "test_it_begins_while_the_server_is_down",
    "test_a_registration_outlives_a_restart_of_the_server",
    "test_a_process_that_begins_while_the_server_is_down_registers_later",
    "test_a_killed_process_is_let_go_when_its_heartbeats_are_missed",
)
"""Laws that ask nothing of polling that the others do not ask."""

_groups: Final = itertools.count(1)


class Server:
    """A Nacos for many tests.

    Args:
        line: Its release line.
    """

    def __init__(self, line: str, *, login: bool, tls: bool) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="graymw-nacos-"))
        atexit.register(self.end)
        self.login = login
        self.certificates: Certificates | None = certificates(self._folder) if tls else None
        self.nacos = Nacos(line, self._folder / "nacos", login=login, certificates=self.certificates)

    def start(self) -> None:
        """Run it where it does not run."""
        if not self.nacos.running:
            self.nacos.start()

    def end(self) -> None:
        """Stop it for good."""
        self.nacos.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


_servers: Final[dict[tuple[str, bool, bool], Server]] = {}


def server(line: str, *, login: bool = False, tls: bool = False) -> Server:
    """The Nacos of a kind, running."""
    kind = (line, login, tls)
    if kind not in _servers:
        _servers[kind] = Server(line, login=login, tls=tls)
    _servers[kind].start()
    return _servers[kind]


class NacosBackend:
    """A Nacos, and somebody who registers instances over HTTP that need no heartbeats for an hour."""

    lacks: Mapping[str, str]
    seconds = 6.0
    expiry_seconds = 35.0

    def __init__(self, server: Server, *, polled: bool) -> None:
        self._server = server
        self._nacos = server.nacos
        self._group = f"test-{next(_groups)}"
        self._polled = polled
        self.lacks = dict.fromkeys(_SAME, AS_PUSHED) if polled else {}
        self._put: dict[tuple[str, str, int], Mapping[str, str]] = {}

    def settings(self) -> dict[str, object]:
        made = self._server.certificates
        scheme = "nacos+https" if made else "nacos"
        polled = "&grpc_port=0" if self._polled else ""
        told: dict[str, object] = {"registry": f"{scheme}://{self._nacos.authority}?group={self._group}{polled}"}
        if made:
            told["registry_ca"] = str(made.ca)
        if self._server.login:
            told |= {"registry_user": USER, "registry_password": PASSWORD}
        return told

    def wrong_login(self) -> dict[str, object] | None:
        return {**self.settings(), "registry_password": "not-the-passw0rd"} if self._server.login else None

    def put(self, service: str, host: str, port: int, metadata: Mapping[str, str]) -> None:
        self._nacos.put_instance(service, host, port, metadata, group=self._group)
        self._put[service, host, port] = metadata

    def remove(self, service: str, host: str, port: int) -> None:
        self._nacos.remove_instance(service, host, port, group=self._group)
        self._put.pop((service, host, port), None)

    def stop(self) -> None:
        self._nacos.stop()

    def start(self) -> None:
        self._nacos.start()
        for (service, host, port), metadata in self._put.items():
            self._nacos.put_instance(service, host, port, metadata, group=self._group)


def _opening(line: str, *, login: bool = False, tls: bool = False, polled: bool = False) -> Opened:
    @contextmanager
    def opened(_: Path) -> Iterator[NacosBackend]:
        yield NacosBackend(server(line, login=login, tls=tls), polled=polled)

    def open_(folder: Path) -> AbstractContextManager[NacosBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {
    "3.1": _opening("3.1"),
    "3.1-polled": _opening("3.1", polled=True),
    "3.1-users-tls": _opening("3.1", login=True, tls=True),
    "2.2-users": _opening("2.2", login=True),
    "2.2-users-polled": _opening("2.2", login=True, polled=True),
}
