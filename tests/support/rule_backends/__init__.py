"""Rule sources as the contract suite sees them: what holds the document, with a writer's eyes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, TypeAlias

from graymw.runtime.ports import RuleSource


class RuleBackend(Protocol):
    """A place for one document."""

    def write(self, text: str) -> None:
        """Put a document there."""

    def delete(self) -> None:
        """Take it away."""

    def source(self) -> RuleSource:
        """A reader of it."""


Opened: TypeAlias = Callable[[Path], AbstractContextManager[RuleBackend]]


def variants() -> dict[str, Opened]:
    """All backends there are, by name and variant: ``consul-1.8``.

    Each is a module of this package with ``VARIANTS``: by name, what opens one in a folder.
    """
    found: dict[str, Opened] = {}
    for entry in iter_modules(__path__):
        opened: dict[str, Opened] = import_module(f"{__name__}.{entry.name}").VARIANTS
        found |= {f"{entry.name}-{variant}" if variant else entry.name: each for variant, each in opened.items()}
    return found
