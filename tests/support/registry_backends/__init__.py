"""Registries as the contract suite sees them: a real server, and somebody who registers instances from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, TypeAlias, runtime_checkable

from graymw.runtime.ports import Registry
from graymw.runtime.watching import WatchThread


class RegistryBackend(Protocol):
    """A running registry and what can be done to it from outside.

    Attributes:
        lacks: Laws (names of tests) that this registry cannot have, each with the reason.
        seconds: Longest time until a change is seen, on a busy machine.
        expiry_seconds: Longest time until an instance without heartbeats is gone; 0 where there are none.
    """

    lacks: Mapping[str, str]
    seconds: float
    expiry_seconds: float

    def settings(self) -> dict[str, object]:
        """``GRAYMW_*`` settings that lead to it, without the prefix: ``registry``, ``registry_token`` …"""

    def wrong_login(self) -> dict[str, object] | None:
        """The same with credentials that the server refuses; None where it runs without a log-in."""

    def put(self, service: str, host: str, port: int, metadata: Mapping[str, str]) -> None:
        """Register an instance as somebody else would; again to change its metadata. It stays without heartbeats."""

    def remove(self, service: str, host: str, port: int) -> None:
        """Take an instance out, whoever registered it."""

    def stop(self) -> None:
        """End the server."""

    def start(self) -> None:
        """Start it again at the same place; instances of ``put`` are there (again) when this returns."""


@runtime_checkable
class WholeRegistry(Protocol):
    """One that keeps its instances current by itself."""

    def registry(self, thread: WatchThread) -> Registry:
        """What a process looks instances up in."""


Opened: TypeAlias = Callable[[Path], AbstractContextManager[RegistryBackend]]


def variants() -> dict[str, Opened]:
    """All registries there are, by name and variant: ``etcd-3.5``.

    Each is a module of this package with ``VARIANTS``: by name, what opens one in a folder.
    """
    found: dict[str, Opened] = {}
    for entry in iter_modules(__path__):
        opened: dict[str, Opened] = import_module(f"{__name__}.{entry.name}").VARIANTS
        found |= {f"{entry.name}-{variant}" if variant else entry.name: each for variant, each in opened.items()}
    return found
