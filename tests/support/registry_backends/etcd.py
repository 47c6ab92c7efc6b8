"""etcd of both release lines: open, with users, with users and TLS on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from certificates import certificates
from real_etcd import PASSWORD, PROGRAMS, USER, Etcd

from registry_backends import Opened

PREFIX: Final = "graymw/services/"


class EtcdBackend:
    """An etcd, and somebody who writes into it as ``graymw`` does, but without a lease."""

    lacks: Mapping[str, str] = {}
    seconds = 5.0
    expiry_seconds = 25.0

    def __init__(self, version: str, folder: Path, *, users: bool, tls: bool) -> None:
        self._certificates = certificates(folder) if tls else None
        self._users = users
        self._etcd = Etcd(PROGRAMS[version](), folder, certificates=self._certificates, client_certificates=tls)
        self._etcd.start()
        if users:
            self._etcd.require_users(PREFIX)

    def settings(self) -> dict[str, object]:
        scheme = "etcd+https" if self._certificates else "etcd"
        told: dict[str, object] = {"registry": f"{scheme}://127.0.0.1:{self._etcd.port}"}
        if self._certificates:
            told |= {f"registry_{name}": str(getattr(self._certificates, name)) for name in ("ca", "cert", "key")}
        if self._users:
            told |= {"registry_user": USER, "registry_password": PASSWORD}
        return told

    def wrong_login(self) -> dict[str, object] | None:
        return {**self.settings(), "registry_password": "not-the-passw0rd"} if self._users else None

    def put(self, service: str, host: str, port: int, metadata: Mapping[str, str]) -> None:
        value = {"host": host, "port": port, "metadata": dict(metadata)}
        self._etcd.put(f"{PREFIX}{service}/{host}:{port}", json.dumps(value))

    def remove(self, service: str, host: str, port: int) -> None:
        self._etcd.delete(f"{PREFIX}{service}/{host}:{port}")

    def stop(self) -> None:
        self._etcd.stop()

    def start(self) -> None:
        self._etcd.start()
        if self._users:
            self._etcd.become_root()


def _opening(version: str, *, users: bool = False, tls: bool = False) -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[EtcdBackend]:
        backend = EtcdBackend(version, folder, users=users, tls=tls)
        try:
            yield backend
        finally:
            backend.stop()

    def open_(folder: Path) -> AbstractContextManager[EtcdBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {
    "3.4-users": _opening("3.4", users=True),
    "3.5": _opening("3.5"),
    "3.5-users-tls": _opening("3.5", users=True, tls=True),
}
