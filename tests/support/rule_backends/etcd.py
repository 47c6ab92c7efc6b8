"""etcd of both release lines: open, with users, with users and TLS on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from certificates import certificates
from real_etcd import PASSWORD, PROGRAMS, USER, Etcd

from graymw.runtime.ports import RuleSource, RuleStore
from graymw.settings.access import Access
from graymw.sources.etcd import EtcdSource
from graymw.sources.etcd_store import EtcdStore
from rule_backends import Opened

KEY: Final = "graymw/rules"


class EtcdBackend:
    """A key of an etcd."""

    lacks: Mapping[str, str]
    seconds = 5.0

    def __init__(self, etcd: Etcd, access: Access, *, users: bool, tls: bool) -> None:
        writers = "as 3.5 without TLS; thousands of handshakes take minutes"
        self.lacks = {"test_fifty_writers_at_once_lose_nothing": writers} if tls else {}
        self._etcd = etcd
        self._access = access
        self._users = users
        self._url = f"{'etcd+https' if tls else 'etcd'}://127.0.0.1:{etcd.port}/{KEY}"

    def source(self) -> RuleSource:
        return EtcdSource(self._url, self._access)

    def source_with_wrong_login(self) -> RuleSource | None:
        return EtcdSource(self._url, self._wrong) if self._users else None

    def store(self) -> RuleStore | None:
        return EtcdStore(self._url, self._access)

    def store_with_wrong_login(self) -> RuleStore | None:
        return EtcdStore(self._url, self._wrong) if self._users else None

    @property
    def _wrong(self) -> Access:
        return Access(user=USER, password="wr0ng", ca=self._access.ca, cert=self._access.cert, key=self._access.key)

    def write(self, text: str) -> None:
        self._etcd.put(KEY, text)

    def delete(self) -> None:
        self._etcd.delete(KEY)

    def stop(self) -> None:
        self._etcd.stop()

    def start(self) -> None:
        self._etcd.start()
        if self._users:
            self._etcd.become_root()


def _opening(version: str, *, users: bool = False, tls: bool = False) -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[EtcdBackend]:
        certified = certificates(folder) if tls else None
        etcd = Etcd(PROGRAMS[version](), folder, certificates=certified, client_certificates=tls).start()
        try:
            if users:
                etcd.require_users(KEY)
            access = Access(
                user=USER if users else "",
                password=PASSWORD if users else "",
                ca=str(certified.ca) if certified else "",
                cert=str(certified.cert) if certified else "",
                key=str(certified.key) if certified else "",
            )
            yield EtcdBackend(etcd, access, users=users, tls=tls)
        finally:
            etcd.stop()

    def open_(folder: Path) -> AbstractContextManager[EtcdBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {
    "3.4-users": _opening("3.4", users=True),
    "3.5": _opening("3.5"),
    "3.5-users-tls": _opening("3.5", users=True, tls=True),
}
