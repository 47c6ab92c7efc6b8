"""A Redis: open, with users, with TLS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from certificates import certificates
from real_redis import PASSWORD, USER, RedisServer

from graymw.runtime.ports import RuleSource
from graymw.settings.access import Access
from graymw.sources.redis import RedisSource
from rule_backends import Opened

KEY: Final = "graymw:rules"


class RedisBackend:
    """A key of a Redis."""

    lacks: Mapping[str, str] = {}
    seconds = 5.0

    def __init__(self, server: RedisServer, access: Access, *, scheme: str, users: bool) -> None:
        self._server = server
        self._access = access
        self._url = f"{scheme}://{server.authority}/0?key={KEY}"
        self._users = users

    def source(self) -> RuleSource:
        return RedisSource(self._url, self._access)

    def source_with_wrong_login(self) -> RuleSource | None:
        return RedisSource(self._url, Access(user=USER, password="wr0ng")) if self._users else None

    def write(self, text: str) -> None:
        self._server.write(KEY, text)

    def delete(self) -> None:
        assert self._server.call("DEL", KEY) == 1
        self._server.call("PUBLISH", KEY, "deleted")

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


def _opening(scheme: str = "redis", *, users: bool = False, tls: bool = False) -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[RedisBackend]:
        certified = certificates(folder) if tls else None
        server = RedisServer(folder, users=users, certificates=certified)
        access = Access(
            user=USER if users else "",
            password=PASSWORD if users else "",
            ca=str(certified.ca) if certified else "",
            cert=str(certified.cert) if certified else "",
            key=str(certified.key) if certified else "",
        )
        server.start()
        try:
            yield RedisBackend(server, access, scheme=scheme, users=users)
        finally:
            server.stop()

    def open_(folder: Path) -> AbstractContextManager[RedisBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {
    "": _opening(),
    "users": _opening(users=True),
    "tls": _opening("redis+https", tls=True),
}
