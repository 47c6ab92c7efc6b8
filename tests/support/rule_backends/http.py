"""A page of nginx: open, with a password, with TLS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from certificates import certificates
from real_nginx import PASSWORD, USER, Nginx

from graymw.runtime.ports import RuleSource, RuleStore
from graymw.settings.access import Access
from graymw.sources.http import HttpSource
from rule_backends import Opened

PAGE: Final = "rules.yaml"


class HttpBackend:
    """A file that an nginx serves."""

    lacks: Mapping[str, str] = {}
    seconds = 8.0

    def __init__(self, server: Nginx, access: Access) -> None:
        self._server = server
        self._access = access

    def source(self) -> RuleSource:
        return HttpSource(f"{self._server.url}/{PAGE}", self._access)

    def source_with_wrong_login(self) -> RuleSource | None:
        if not self._access.password:
            return None
        return HttpSource(f"{self._server.url}/{PAGE}", Access(user=USER, password="wr0ng"))

    def store(self) -> RuleStore | None:
        return None

    def store_with_wrong_login(self) -> RuleStore | None:
        return None

    def write(self, text: str) -> None:
        self._server.write(PAGE, text)

    def delete(self) -> None:
        (self._server.pages / PAGE).unlink()

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


def _opening(*, password: bool = False, tls: bool = False) -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[HttpBackend]:
        made = certificates(folder) if tls else None
        server = Nginx(folder, password=password, certificates=made)
        access = Access(
            user=USER if password else "",
            password=PASSWORD if password else "",
            ca=str(made.ca) if made else "",
            cert=str(made.cert) if made else "",
            key=str(made.key) if made else "",
        )
        server.start()
        try:
            yield HttpBackend(server, access)
        finally:
            server.stop()

    def open_(folder: Path) -> AbstractContextManager[HttpBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {"password": _opening(password=True), "tls": _opening(tls=True)}
