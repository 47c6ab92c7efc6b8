"""A configuration of Nacos of both release lines: open, with users, with users and TLS, and polled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from real_nacos import PASSWORD, USER
from registry_backends.nacos import AS_PUSHED, Server, server

from graymw.runtime.ports import RuleSource, RuleStore
from graymw.settings.access import Access
from graymw.sources.nacos import NacosSource
from graymw.sources.nacos_store import NacosStore
from rule_backends import Opened

DATA_ID: Final = "rules.yaml"
_SAME: Final = (
    "test_a_restart_of_the_server_loses_nothing",
    "test_what_is_written_while_nobody_could_watch_is_seen_afterwards",
    "test_a_process_starts_with_the_copy_on_disk_while_the_server_is_down",
)
"""Laws that ask nothing of polling that the others do not ask."""

_groups: Final = itertools.count(1)


class NacosBackend:
    """A configuration in a group of its own, in a Nacos that other tests use too."""

    lacks: dict[str, str]
    seconds = 6.0

    def __init__(self, server: Server, *, polled: bool) -> None:
        self._server = server
        self._nacos = server.nacos
        self._group = f"rules-{next(_groups)}"
        self._polled = polled
        writers = "as without users; thousands of log-ins take minutes"
        self.lacks = {"test_fifty_writers_at_once_lose_nothing": writers} if server.login else {}
        if polled:
            self.lacks |= dict.fromkeys(_SAME, AS_PUSHED)

    def source(self) -> RuleSource:
        return NacosSource(*self._place(PASSWORD))

    def source_with_wrong_login(self) -> RuleSource | None:
        return NacosSource(*self._place("wr0ng")) if self._server.login else None

    def store(self) -> RuleStore | None:
        writes = self._nacos.line != "2.2" and not self._polled
        return NacosStore(*self._place(PASSWORD)) if writes else None

    def store_with_wrong_login(self) -> RuleStore | None:
        return NacosStore(*self._place("wr0ng")) if self._server.login else None

    def write(self, text: str) -> None:
        self._nacos.publish(DATA_ID, text, group=self._group)

    def delete(self) -> None:
        self._nacos.unpublish(DATA_ID, group=self._group)

    def stop(self) -> None:
        self._nacos.stop()

    def start(self) -> None:
        self._nacos.start()

    def _place(self, password: str) -> tuple[str, Access]:
        made = self._server.certificates
        scheme = "nacos+https" if made else "nacos"
        polled = "&grpc_port=0" if self._polled else ""
        login = (USER, password) if self._server.login else ("", "")
        access = Access(user=login[0], password=login[1], ca=str(made.ca) if made else "")
        return f"{scheme}://{self._nacos.authority}/{DATA_ID}?group={self._group}{polled}", access


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
