"""The rule document in a local file, watched by looking at it.

Looking costs some microseconds and works on every file system, bind mount and symlink chain; notifications do not.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from graymw.errors import Problem, SettingsError, SourceError
from graymw.runtime.ports import DocumentFormat, Fetched

POLL_SECONDS: Final = 0.1
SETTLE_SECONDS: Final = 0.03
"""A changed file is taken when two looks this far apart agree: its writer may still be at it."""

ABSENT_SECONDS: Final = 0.5
"""How long a file must be gone or empty to count as that: editors and copies pass through both."""

UNREST_SECONDS: Final = 5.0
"""How long a file may go on changing before it is taken as it is."""

RACY_NS: Final = 2_500_000_000
"""A file that changed this recently may change again without a new time stamp (file systems tick in up to 2 s), so its
content is compared as well. Git calls such files racily clean."""

MAX_BYTES: Final = 8 * 1024 * 1024
_FORMATS: Final[dict[str, DocumentFormat]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


class _Mark(NamedTuple):
    """What tells one state of a file from the next without reading it; None for no file."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Look:
    """A file at one moment."""

    mark: _Mark | None
    content: bytes | None
    racy: bool

    @property
    def empty(self) -> bool:
        return not self.content or not self.content.strip()


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
        self._poll = poll

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def read_now(self) -> Fetched:
        """The document as it is now; a missing file holds none.

        Raises:
            SourceError: The file is there and cannot be read.
        """
        return self._fetched(self._look())

    async def load(self) -> Fetched:
        """As ``read_now``: a local file does not keep the loop waiting."""
        return self.read_now()

    async def watch(self) -> AsyncIterator[Fetched]:
        """The document as it is now, then again whenever its content has changed.

        Raises:
            SourceError: The file is there and cannot be read.
        """
        seen = self._look()
        yield self._fetched(seen)
        while True:
            await asyncio.sleep(self._poll)
            if not seen.racy and self._mark() == seen.mark:
                continue
            settled = await self._settled()
            if settled.content != seen.content:
                yield self._fetched(settled)
            seen = settled

    async def _settled(self) -> _Look:
        """The file once it holds still."""
        look = self._look()
        began = still_since = time.monotonic()
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            again = self._look()
            if time.monotonic() - began >= UNREST_SECONDS:
                return again
            if again.mark != look.mark or again.content != look.content:
                look, still_since = again, time.monotonic()
            elif not look.empty or time.monotonic() - still_since >= ABSENT_SECONDS:
                return again

    def _mark(self) -> _Mark | None:
        try:
            return _mark_of(self.path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unreadable(error) from error

    def _look(self) -> _Look:
        """Read the file, with its mark from before the reading: what changes meanwhile shows at the next look."""
        try:
            before = self.path.stat()
            if not stat.S_ISREG(before.st_mode):
                raise SourceError(f"{self.path} is {_kind(before.st_mode)}, not a file: name the rule document itself")
            if before.st_size > MAX_BYTES:
                raise SourceError(f"{self.path} has {before.st_size} bytes: a rule document has at most {MAX_BYTES}")
            now = time.time_ns()
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return _Look(None, None, racy=False)
        except OSError as error:
            raise self._unreadable(error) from error
        racy = now - max(before.st_mtime_ns, before.st_ctime_ns) < RACY_NS
        return _Look(_mark_of(before), content, racy)

    def _fetched(self, look: _Look) -> Fetched:
        version = hashlib.sha256(look.content).hexdigest()[:12] if look.content is not None else ""
        return Fetched(look.content, self.name, _FORMATS.get(self.path.suffix.lower()), version)

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(f"{self.path} cannot be read: {error.strerror or error}")


def _mark_of(status: os.stat_result) -> _Mark:
    return _Mark(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _kind(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "a device, pipe or socket"


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
