"""A Redis: open, with users, with TLS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from certificates import certificates
from real_redis import PASSWORD, USER, WRITER, RedisServer

from graymw.runtime.ports import RuleSource, RuleStore
from graymw.settings.access import Access
from graymw.sources.redis import RedisSource
from graymw.sources.redis_store import RedisStore
from rule_backends import Opened

KEY: Final = "graymw:rules"


class RedisBackend:
    """A key of a Redis."""

    lacks: Mapping[str, str]
    seconds = 5.0

    def __init__(self, server: RedisServer, access: Access, *, scheme: str, users: bool) -> None:
        self._server = server
        self._access = access
        self._url = f"{scheme}://{server.authority}/0?key={KEY}"
        self._users = users
        without = "as without TLS; thousands of handshakes take minutes"
        laws = ("test_fifty_writers_at_once_lose_nothing", "test_the_history_is_kept_within_bounds")
        self.lacks = dict.fromkeys(laws, without) if "https" in scheme else {}

    def source(self) -> RuleSource:
        return RedisSource(self._url, self._access)

    def source_with_wrong_login(self) -> RuleSource | None:
        return RedisSource(self._url, Access(user=USER, password="wr0ng")) if self._users else None

    def store(self) -> RuleStore | None:
        return RedisStore(self._url, self._writer)

    def store_with_wrong_login(self) -> RuleStore | None:
        return RedisStore(self._url, self._access) if self._users else None  # may read, and no more

    @property
    def _writer(self) -> Access:
        return Access(user=WRITER, password=PASSWORD) if self._users else self._access

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
