"""The directory where a process leaves what outlives it: the last good rules, its status.

Only a directory that nobody else can write to is used: rules planted there would steer the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from graymw.runtime import counters

log = logging.getLogger("graymw.state")

MAX_BYTES: Final = 16 * 1024 * 1024
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def open_state_dir(configured: str = "", *, environ: Mapping[str, str] | None = None) -> StateDir | None:
    """The first place that can be trusted, made where it is missing; None where there is none, which is logged.

    Args:
        configured: ``GRAYMW_STATE_DIR``; where it belongs to someone else (a mounted volume), a directory of our own
            inside it. Empty: ``$XDG_STATE_HOME/graymw``, ``~/.local/state/graymw``, or one of this user's own among the
            temporary files.
        environ: The environment; default: that of the process.
    """
    tried = []
    for path in _candidates(configured, os.environ if environ is None else environ):
        state = StateDir(path)
        try:
            state.make()
        except OSError as error:
            tried.append(f"{path}: {error.strerror or error}")
        else:
            return state
    counters.count("state.error")
    reasons = "; ".join(tried)
    counters.once(log, f"state:{reasons}", logging.WARNING, "no state is kept, no directory can be used (%s)", reasons)
    return None


def _candidates(configured: str, environ: Mapping[str, str]) -> Iterator[Path]:
    own = f"graymw-{os.geteuid()}"
    if configured:
        path = Path(configured).expanduser().resolve()
        yield path
        yield path / own
        return
    state_home = environ.get("XDG_STATE_HOME", "")
    if Path(state_home).is_absolute():  # others are to be ignored: XDG base directory specification
        yield Path(state_home) / "graymw"
    home = environ.get("HOME", "")
    if Path(home).is_absolute():
        yield Path(home) / ".local" / "state" / "graymw"
    yield Path(tempfile.gettempdir()) / own


class StateDir:
    """Files in one directory, written whole and readable by this user only.

    Every method raises ``OSError``; in particular where the directory has come into other hands.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the directory where it is missing, and see that it can be trusted."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._opened() as directory:
            if not os.access(".", os.W_OK, dir_fd=directory):
                raise PermissionError(f"{self.path} cannot be written to")

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Put a file in place in one step.

        Args:
            name: Name without directory.
            content: All of it.
            durable: Whether it must outlive a power failure.
        """
        unfinished = f".{name}.{os.getpid()}.{threading.get_ident()}"
        with self._opened() as directory:
            with contextlib.suppress(FileNotFoundError):  # left by a process of the same number that was killed
                os.unlink(unfinished, dir_fd=directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            try:
                with open(os.open(unfinished, flags, 0o600, dir_fd=directory), "wb") as file:  # noqa: PTH123
                    file.write(content)
                    if durable:
                        file.flush()
                        os.fsync(file.fileno())
                os.replace(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(unfinished, dir_fd=directory)
                raise

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        with self._opened() as directory:
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            except FileNotFoundError:
                return None
        with open(descriptor, "rb") as file:  # noqa: PTH123
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_size > MAX_BYTES:
                raise PermissionError(f"{self.path / name} is not a file of ours")
            return file.read()

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        with self._opened() as directory, contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)

    def names(self) -> list[str]:
        """Names of all files that are in place, sorted."""
        with self._opened() as directory:
            found = os.listdir(directory)  # noqa: PTH208  of the descriptor, not of a path
        return sorted(name for name in found if not name.startswith("."))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of the directory, which stays the one that was looked at whatever the path comes to mean."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid():
                raise PermissionError(f"{self.path} belongs to another user")
            if found.st_mode & _OTHERS_MAY_WRITE:
                raise PermissionError(f"{self.path} can be written to by other users")
            yield descriptor
        finally:
            os.close(descriptor)
