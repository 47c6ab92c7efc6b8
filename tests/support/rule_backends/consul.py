from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from real_consul import Consul, running

from graymw.runtime.ports import RuleSource, RuleStore
from graymw.settings.access import Access
from graymw.sources.consul import ConsulSource
from graymw.sources.consul_store import ConsulStore
from rule_backends import Opened

KEY: Final = "graymw/rules.yaml"


class ConsulBackend:
    """A key of a Consul."""

    lacks: Mapping[str, str] = {"test_a_document_of_a_mebibyte_comes_whole": "Consul keeps 512 KiB in a key"}
    seconds = 5.0

    def __init__(self, consul: Consul, *, forgets: bool) -> None:
        self._consul = consul
        self._forgets = forgets
        self._written: str | None = None

    def write(self, text: str) -> None:
        self._written = text
        self._consul.put(KEY, text)

    def delete(self) -> None:
        self._written = None
        self._consul.remove(KEY)

    def source(self) -> RuleSource:
        return ConsulSource(f"consul://{self._consul.authority}/{KEY}", Access(token=self._consul.token))

    def source_with_wrong_login(self) -> RuleSource | None:
        if not self._consul.token:
            return None
        return ConsulSource(f"consul://{self._consul.authority}/{KEY}", Access(token="wr0ng-token"))

    def store(self) -> RuleStore | None:
        return self._store(self._consul.token)

    def store_with_wrong_login(self) -> RuleStore | None:
        return self._store("wr0ng-token") if self._consul.token else None

    def _store(self, token: str) -> RuleStore:
        return ConsulStore(f"consul://{self._consul.authority}/{KEY}", Access(token=token))

    def stop(self) -> None:
        self._consul.stop()

    def start(self) -> None:
        self._consul.start()
        if self._forgets and self._written is not None:
            self._consul.put(KEY, self._written)


def _opening(line: str, *, access_control: bool = False, in_memory: bool = False) -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[ConsulBackend]:
        with running(folder, line=line, access_control=access_control, in_memory=in_memory) as consul:
            yield ConsulBackend(consul, forgets=in_memory)

    def open_(folder: Path) -> AbstractContextManager[ConsulBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {
    "1.8": _opening("1.8"),
    "1.12-tokens": _opening("1.12", access_control=True, in_memory=True),  # and so forgets, and its index falls
}
