"""Rule sources as the contract suite sees them: what holds the document, and somebody who writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, TypeAlias

from graymw.runtime.ports import RuleSource, RuleStore


class RuleBackend(Protocol):
    """What holds the document, running and empty.

    Attributes:
        lacks: Laws (names of tests) that this one cannot have, each with the reason.
        seconds: Longest time until a change is seen, on a busy machine.
    """

    lacks: Mapping[str, str]
    seconds: float

    def source(self) -> RuleSource:
        """A source that reads it, as a user would set it up."""

    def source_with_wrong_login(self) -> RuleSource | None:
        """The same with credentials that the server refuses; None where it runs without a log-in."""

    def store(self) -> RuleStore | None:
        """What graymw writes it by; None where it cannot."""

    def store_with_wrong_login(self) -> RuleStore | None:
        """The same with credentials that the server refuses; None where it runs without a log-in."""

    def write(self, text: str) -> None:
        """Replace the document as a careful writer does."""

    def delete(self) -> None:
        """Take it out."""

    def stop(self) -> None:
        """End the server."""

    def start(self) -> None:
        """Start it again at the same place; what was last written is there when this returns."""


Opened: TypeAlias = Callable[[Path], AbstractContextManager[RuleBackend]]


def variants() -> dict[str, Opened]:
    """All there are, by name and variant: ``redis-tls``.

    Each is a module of this package with ``VARIANTS``: by name, what opens one in a folder.
    """
    found: dict[str, Opened] = {}
    for entry in iter_modules(__path__):
        opened: dict[str, Opened] = import_module(f"{__name__}.{entry.name}").VARIANTS
        found |= {f"{entry.name}-{variant}" if variant else entry.name: each for variant, each in opened.items()}
    return found
