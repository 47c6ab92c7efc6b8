"""A local file, watched by looking at it.

Looking costs some microseconds and works on every file system, bind mount and symlink chain; notifications do not.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from graymw.errors import SourceError

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


class Mark(NamedTuple):
    """What tells one state of a file from the next without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


@dataclass(frozen=True, slots=True)
class Look:
    """A file at one moment.

    Attributes:
        mark: None for no file.
        content: None for no file.
        racy: Whether it may change without a new mark.
    """

    mark: Mark | None
    content: bytes | None
    racy: bool

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self.content or not self.content.strip()


class LocalFile:
    """A file that may come, change and go.

    Args:
        path: Where it is; symlinks are followed anew at each look.
        poll: Seconds between two looks.
    """

    def __init__(self, path: Path, *, poll: float = POLL_SECONDS) -> None:
        self.path = path
        self._poll = poll

    def look(self) -> Look:
        """Read the file, with its mark from before the reading: what changes meanwhile shows at the next look.

        Raises:
            SourceError: The file is there and cannot be read.
        """
        try:
            before = self.path.stat()
            if not stat.S_ISREG(before.st_mode):
                raise SourceError(f"{self.path} is {_kind(before.st_mode)}, not a file: name the file itself")
            if before.st_size > MAX_BYTES:
                raise SourceError(f"{self.path} has {before.st_size} bytes, of at most {MAX_BYTES}: name another file")
            now = time.time_ns()
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return Look(None, None, racy=False)
        except OSError as error:
            raise self._unreadable(error) from error
        racy = now - max(before.st_mtime_ns, before.st_ctime_ns) < RACY_NS
        return Look(_mark_of(before), content, racy)

    async def looks(self) -> AsyncIterator[Look]:
        """The file as it is now, then again whenever its content has changed.

        Raises:
            SourceError: The file is there and cannot be read.
        """
        seen = self.look()
        yield seen
        while True:
            await asyncio.sleep(self._poll)
            if not seen.racy and self._mark() == seen.mark:
                continue
            settled = await self._settled()
            changed = settled.content != seen.content
            seen = settled
            if changed:
                yield seen

    async def _settled(self) -> Look:
        """The file once it holds still."""
        look = self.look()
        began = still_since = time.monotonic()
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            again = self.look()
            if time.monotonic() - began >= UNREST_SECONDS:
                return again
            if again.mark != look.mark or again.content != look.content:
                look, still_since = again, time.monotonic()
            elif not look.empty or time.monotonic() - still_since >= ABSENT_SECONDS:
                return again

    def _mark(self) -> Mark | None:
        try:
            return _mark_of(self.path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(f"{self.path} cannot be read: {error.strerror or error}")


def _mark_of(status: os.stat_result) -> Mark:
    return Mark(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _kind(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "a device, pipe or socket"
