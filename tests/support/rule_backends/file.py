from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from graymw.runtime.ports import RuleSource
from graymw.sources.file import FileSource
from rule_backends import Opened


class FileBackend:
    """A file, written in place."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rules.yaml"

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def delete(self) -> None:
        self.path.unlink()

    def source(self) -> RuleSource:
        return FileSource(self.path)


@contextmanager
def opened(folder: Path) -> Iterator[FileBackend]:
    yield FileBackend(folder)


VARIANTS: Final[dict[str, Opened]] = {"": opened}
