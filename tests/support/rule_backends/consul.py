from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from real_consul import Consul, running

from graymw.runtime.ports import RuleSource
from graymw.settings.access import Access
from graymw.sources.consul import ConsulSource
from rule_backends import Opened

KEY: Final = "graymw/rules.yaml"


class ConsulBackend:
    """A key of a Consul."""

    def __init__(self, consul: Consul) -> None:
        self._consul = consul

    def write(self, text: str) -> None:
        self._consul.put(KEY, text)

    def delete(self) -> None:
        self._consul.remove(KEY)

    def source(self) -> RuleSource:
        return ConsulSource(f"consul://{self._consul.authority}/{KEY}", Access())


def _opening(line: str) -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[ConsulBackend]:
        with running(folder, line=line, in_memory=True) as consul:
            yield ConsulBackend(consul)

    def open_(folder: Path) -> AbstractContextManager[ConsulBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {"1.8": _opening("1.8"), "1.12": _opening("1.12")}
