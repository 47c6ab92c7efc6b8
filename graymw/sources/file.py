"""The rule document in a local file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from graymw.errors import Problem, SettingsError
from graymw.runtime.local_file import POLL_SECONDS, LocalFile, Look
from graymw.runtime.ports import DocumentFormat, Fetched

_FORMATS: Final[dict[str, DocumentFormat]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


class FileSource:
    """A rule document in a local file.

    Args:
        location: Path, or ``file:`` URL; a relative one is taken from the working directory of this moment.
        poll: Seconds between two looks.

    Raises:
        SettingsError: The URL names another host.
    """

    def __init__(self, location: str | Path, *, poll: float = POLL_SECONDS) -> None:
        self.path = Path(os.path.abspath(_path_of(location)))  # noqa: PTH100  resolve() would follow symlinks for good
        self._file = LocalFile(self.path, poll=poll)

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def read_now(self) -> Fetched:
        """The document as it is now; a missing file holds none.

        Raises:
            SourceError: The file is there and cannot be read.
        """
        return self._fetched(self._file.look())

    async def load(self) -> Fetched:
        """As ``read_now``: a local file does not keep the loop waiting."""
        return self.read_now()

    async def watch(self) -> AsyncIterator[Fetched]:
        """The document as it is now, then again whenever its content has changed.

        Raises:
            SourceError: The file is there and cannot be read.
        """
        async for look in self._file.looks():
            yield self._fetched(look)

    def _fetched(self, look: Look) -> Fetched:
        version = hashlib.sha256(look.content).hexdigest()[:12] if look.content is not None else ""
        return Fetched(look.content, self.name, _FORMATS.get(self.path.suffix.lower()), version)


def _path_of(location: str | Path) -> Path:
    """The path that a path or a ``file:`` URL names (RFC 8089)."""
    if isinstance(location, Path):
        return location
    if not location.lower().startswith("file:"):
        return Path(location).expanduser()
    parts = urlsplit(location)
    if parts.netloc not in ("", "localhost"):
        raise SettingsError(
            [Problem("GRAYMW_RULES", f"a file on the host {parts.netloc} cannot be read", "write file:///PATH")]
        )
    return Path(unquote(parts.path)).expanduser()
