"""Lines written to a stream or a file by a thread of ours, so that no request waits for a disk or a full pipe.

A file is opened for appending and opened again once it was renamed or removed, as ``logrotate`` does without
``copytruncate``; lines of several processes do not mix within a line, as each write is whole lines.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from graymw.runtime import counters

log = logging.getLogger("graymw.access_log")

MOST_WAITING: Final = 10_000
"""Lines that wait to be written; what comes while so many do is dropped and counted."""

_MOST_AT_ONCE: Final = 256
_CLOSE_SECONDS: Final = 2.0

Make: TypeAlias = Callable[[], str]


class LineWriter:
    """Writes lines in the order they were put, in a thread that begins with the first one in each process.

    Args:
        target: ``stdout``, ``stderr`` or a path; a relative one counts from where the process is now.
    """

    def __init__(self, target: str) -> None:
        self._sink: _File | _Stream = (
            _Stream(target) if target in ("stdout", "stderr") else _File(Path(target).expanduser().absolute())
        )
        self._lock = threading.Lock()
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        """A state without a thread and without lines: those of a parent process are the parent's to write."""
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[Make | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, make: Make) -> None:
        """Write a line later. Never blocks; where too many wait, the line is dropped and counted.

        Args:
            make: Returns the line without its end; called in the writing thread.
        """
        if self._waiting.qsize() >= MOST_WAITING:
            counters.count("access_log.dropped")
            counters.once(
                log, "access_log:dropped", logging.WARNING, "%s takes lines too slowly: some are dropped", self
            )
            return
        self._waiting.put(make)
        if self._thread is None:
            self._start()

    def flush(self, seconds: float = _CLOSE_SECONDS) -> bool:
        """Wait until every line put so far is written; False where that takes longer than some seconds."""
        if self._thread is None:
            return True
        written = threading.Event()
        self._waiting.put(written)
        return written.wait(seconds)

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Write what waits, and end the thread; a line put later begins another."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(seconds)

    def __str__(self) -> str:
        return str(self._sink)

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, args=(self._waiting,), name="graymw-lines", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending and starts no more threads
                self._write(self._ready(self._waiting))
            else:
                self._thread = thread

    def _run(self, waiting: SimpleQueue[Make | threading.Event | None]) -> None:
        while True:
            batch: list[Make] = []
            wanted = waiting.get()
            while callable(wanted):
                batch.append(wanted)
                if len(batch) >= _MOST_AT_ONCE:
                    break
                try:
                    wanted = waiting.get_nowait()
                except Empty:
                    break
            self._write(batch)
            if isinstance(wanted, threading.Event):
                wanted.set()
            elif wanted is None:
                self._sink.close()
                return

    @staticmethod
    def _ready(waiting: SimpleQueue[Make | threading.Event | None]) -> Iterator[Make]:
        with contextlib.suppress(Empty):
            while True:
                wanted = waiting.get_nowait()
                if callable(wanted):
                    yield wanted

    def _write(self, batch: Iterable[Make]) -> None:
        lines = []
        for make in batch:
            try:
                lines.append(make().encode("utf-8", "replace") + b"\n")
            except Exception as error:  # noqa: BLE001 - one line that cannot be made must not cost the others
                self._lost(1, error)
        for part, count in _parts(lines):
            try:
                self._sink.write(part)
            except Exception as error:  # noqa: BLE001 - a full disk, a stream that somebody replaced or closed
                self._lost(count, error)

    def _lost(self, lines: int, error: Exception) -> None:
        counters.count("access_log.lost", lines)
        told = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        counters.once(
            log, f"access_log:{type(error).__name__}", logging.ERROR, "access lines cannot go to %s: %s", self, told
        )


class _Stream:
    """Standard output or error, whatever stands in its place when a line is written."""

    def __init__(self, name: str) -> None:
        self._name = name

    def write(self, data: bytes) -> None:
        stream = getattr(sys, self._name)
        stream.write(data.decode())
        stream.flush()

    def close(self) -> None:
        """Not ours to close."""

    def __str__(self) -> str:
        return self._name


class _File:
    """A file that is found again under its path after it was rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def write(self, data: bytes) -> None:
        if self._descriptor is not None and not self._is_there(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except OSError:
            return False

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __str__(self) -> str:
        return str(self._path)


def _parts(lines: list[bytes]) -> Iterator[tuple[bytes, int]]:
    """Whole lines, as many as a pipe takes at once without mixing them with another process's (POSIX, ``write``)."""
    part, count = b"", 0
    for line in lines:
        if part and len(part) + len(line) > select.PIPE_BUF:
            yield part, count
            part, count = b"", 0
        part, count = part + line, count + 1
    if part:
        yield part, count


_writers: Final[weakref.WeakSet[LineWriter]] = weakref.WeakSet()


def flush_all() -> None:
    """Write what waits in every writer, within seconds."""
    for writer in [*_writers]:
        writer.flush()


def _after_fork_in_child() -> None:
    for writer in [*_writers]:
        writer._begin()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_after_fork_in_child)
