"""A range of keys, read once and then followed change by change, so that none is missed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from graymw.remote.etcd.messages import Entry, KeyRange, WatchMessage
from graymw.remote.etcd.session import Session, SilentError
from graymw.remote.pacing import Pace

READS_AT_ONCE: Final = 5
READS_PER_SECOND: Final = 1.0
"""A member that lags behind, or has lost its history, sends back to reading the range for as long as that lasts."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to a range.

    Attributes:
        entries: By key; None where the key is gone.
        whole: Whether this is all there is now, rather than what is different.
    """

    entries: Mapping[bytes, Entry | None]
    whole: bool = False


async def mirror(session: Session, keys: KeyRange) -> AsyncGenerator[Changes]:
    """The range as it is now, then what changes in it.

    The watch begins at the revision behind the one that was read. After silence it begins anew where it stood. Where
    the history from there on is gone, or the store is a younger one than was read, the range is read anew.

    Raises:
        SourceError: The cluster cannot be read.
    """
    pace = Pace(READS_AT_ONCE, READS_PER_SECOND)
    while True:
        await pace.step()
        found = await session.read(keys)
        yield Changes({entry.key: entry for entry in found.entries}, whole=True)
        async with aclosing(_followed(session, keys, found.revision)) as changes:
            async for change in changes:
                yield change


async def _followed(session: Session, keys: KeyRange, seen: int) -> AsyncGenerator[Changes]:
    """Changes since a range was read; ends where it must be read anew."""
    while True:
        try:
            async with aclosing(session.watch(keys, seen + 1)) as messages:
                async for message in messages:
                    if _elsewhere(message, seen):
                        return
                    if message.changes:
                        yield Changes(message.changes)
                    seen = max(seen, _known(message))
                return
        except SilentError:
            continue


def _elsewhere(message: WatchMessage, seen: int) -> bool:
    """Whether the history asked for cannot come any more: compacted away, or that of a new store."""
    return bool(message.compact_revision) or (message.created and message.revision < seen)


def _known(message: WatchMessage) -> int:
    """Up to which revision nothing more can come; what begins a watch runs ahead of the past that follows it."""
    if message.last_revision:
        return message.last_revision
    return 0 if message.created or message.canceled else message.revision
