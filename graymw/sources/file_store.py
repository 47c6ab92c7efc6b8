"""The rule document in a local file, written safely: one writer at a time, in one step, with its history beside it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from graymw.errors import ConflictError, SourceError
from graymw.runtime.ports import Change, Fetched
from graymw.sources.file import FileSource
from graymw.sources.packing import change_told

KEPT_CHANGES: Final = 200
"""Changes that the history keeps."""

KEPT_BYTES: Final = 16 * 1024 * 1024


class FileStore:
    """A rule document in a local file that can be written.

    The history is ``FILE.history.jsonl`` beside it, a line for each change; ``.FILE.lock`` keeps writers apart.

    Args:
        location: Path, or ``file:`` URL.

    Raises:
        SettingsError: The URL names another host.
    """

    def __init__(self, location: str | Path) -> None:
        self._source = FileSource(location)
        self.path = Path(os.path.realpath(self._source.path))
        self._history = self.path.with_name(f"{self.path.name}.history.jsonl")
        self._lock = self.path.with_name(f".{self.path.name}.lock")

    @property
    def name(self) -> str:
        """The path."""
        return self._source.name

    async def read(self) -> Fetched:
        """The document as it is now."""
        fetched = self._source.read_now()
        return fetched if fetched.text is not None else dataclasses.replace(fetched, version="")

    async def write(self, change: Change, *, expected: str) -> None:
        """Put a document in the place of the one that was read, and the change into the history.

        Raises:
            ConflictError: The file has changed since.
            SourceError: It cannot be written.
        """
        await asyncio.to_thread(self._write, change, expected)

    async def history(self, limit: int) -> list[Change]:
        """The last changes, newest first."""
        return await asyncio.to_thread(lambda: self._changes()[: -limit - 1 : -1])

    async def close(self) -> None:
        """Nothing is held open."""

    def _write(self, change: Change, expected: str) -> None:
        with self._told(), self._alone():
            now = self._source.read_now()
            if (now.version if now.text is not None else "") != expected:
                raise ConflictError(f"{self.name} has changed meanwhile; read it again")
            kept = [*self._changes(), change][-KEPT_CHANGES:]
            while sum(len(each.text) for each in kept) > KEPT_BYTES and len(kept) > 1:
                del kept[0]
            lines = "".join(json.dumps(dataclasses.asdict(each), ensure_ascii=False) + "\n" for each in kept)
            _replace(self._history, lines, like=self.path)
            _replace(self.path, change.text, like=self.path)

    def _changes(self) -> list[Change]:
        try:
            lines = self._history.read_text(encoding="utf-8").split("\n")  # which no text of a line holds
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SourceError(f"{self._history}: {error.strerror or error}; mend who may read it") from error
        found = []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):  # a line by another hand
                found.append(change_told(line))
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the file; it is the kernel's, so that a killed writer lets go of it."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _give(descriptor, self.path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SourceError(
                f"{self.path} cannot be written: {error.strerror or error}; mend who may write there"
            ) from error


def _replace(path: Path, text: str, *, like: Path) -> None:
    """Put a file in place in one step.

    Args:
        like: Whose owner and rights it gets, where that file is there.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    rights = 0o600 if like.exists() else 0o666  # the first: until it has those of the other; the second: by the umask
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, rights)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - which it owns
            _give(file.fileno(), like)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _give(descriptor: int, like: Path) -> None:
    """Give an open file the owner and the rights of another one, where that is there."""
    try:
        known = like.stat()
    except FileNotFoundError:
        return
    own = os.fstat(descriptor)
    with contextlib.suppress(OSError):  # only root gives files away; the group may be one of our own
        if (own.st_uid, own.st_gid) != (known.st_uid, known.st_gid):
            os.fchown(descriptor, known.st_uid, known.st_gid)
    with contextlib.suppress(PermissionError):  # a lock of somebody else's
        os.fchmod(descriptor, known.st_mode & 0o777)
