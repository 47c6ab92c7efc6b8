"""A stand-in for Apollo, which has no server that could be run here: open, and with an access key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from apollo_stand_in import ApolloStandIn

from graymw.runtime.ports import RuleSource, RuleStore
from graymw.settings.access import Access
from graymw.sources.apollo import ApolloSource
from rule_backends import Opened

PLACE: Final = ("shop", "default", "rules.yaml")
SECRET: Final = "df23df3f59884980844ff3dada30fa97"


class ApolloBackend:
    """A namespace, and somebody who releases it."""

    lacks: Mapping[str, str] = {}
    seconds = 5.0

    def __init__(self, server: ApolloStandIn) -> None:
        self._server = server
        self._url = f"apollo://{server.authority}/{'/'.join(PLACE)}"

    def source(self) -> RuleSource:
        return ApolloSource(self._url, Access(secret_key=self._server.secret))

    def source_with_wrong_login(self) -> RuleSource | None:
        return ApolloSource(self._url, Access(secret_key="wr0ng")) if self._server.secret else None

    def store(self) -> RuleStore | None:
        return None

    def store_with_wrong_login(self) -> RuleStore | None:
        return None

    def write(self, text: str) -> None:
        self._server.release(*PLACE, {"content": text})

    def delete(self) -> None:
        self._server.release(*PLACE, None)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


def _opening(secret: str = "") -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[ApolloBackend]:
        server = ApolloStandIn(secret=secret)
        server.start()
        try:
            yield ApolloBackend(server)
        finally:
            server.stop()

    def open_(folder: Path) -> AbstractContextManager[ApolloBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {"stand-in": _opening(), "stand-in-key": _opening(SECRET)}
