"""The rule document in a key of etcd, written by transactions, with its history in keys beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import zlib
from typing import Any, Final

from graymw.errors import ConflictError, SourceError
from graymw.remote.etcd.messages import Entry, KeyRange, RefusedError, encoded
from graymw.remote.etcd.session import Session
from graymw.runtime.ports import Change, Fetched
from graymw.settings.access import Access
from graymw.sources.etcd import RulesKey
from graymw.sources.packing import change_told

KEPT_CHANGES: Final = 200
"""Changes that the history keeps."""

KEPT_BYTES: Final = 16 * 1024 * 1024
"""Of long documents fewer changes are kept, so that they take about this much."""

_PLAIN_BYTES: Final = 65_536
"""Longer entries of the history are compressed: one request of at most 1.5 MiB holds the document and its entry."""

_PAGE: Final = 16


class EtcdStore:
    """A rule document in a key of etcd that can be written.

    The history is ``KEY.history/NUMBER``: JSON for each change, gzip of it where the document is long.

    Args:
        url: As for ``EtcdSource``.
        access: User, password and certificates.

    Raises:
        SettingsError: The URL is no such URL, or names no key.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._place = RulesKey(url, access)
        self._history = KeyRange.prefix(self._place.key + b".history/")

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._place.name

    async def read(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: The cluster cannot be read now, or the user may not read the key.
        """
        async with self._place.cluster.session() as session:
            return self._place.of(await session.read(KeyRange(self._place.key)))

    async def write(self, change: Change, *, expected: str) -> None:
        """Put a document in the place of the one that was read, and the change into the history, in one transaction.

        Raises:
            ConflictError: The key has changed since.
            SourceError: The cluster cannot be reached, or refuses.
        """
        key, text, told = self._place.key, change.text.encode(), _told(change)
        async with self._place.cluster.session() as session:
            found = await session.read(KeyRange(key))
            if self._place.of(found).version != expected:
                raise self._conflict()
            # Every write moves the store on, so its revision numbers the changes in their order.
            entry = self._history.key + b"%020d" % found.revision
            compare = [_unchanged(key, int(expected) if expected.isdecimal() else 0), _unchanged(entry, 0)]
            success = [_put(key, text), _put(entry, told), *await self._forgotten(session, entry, len(told))]
            try:
                answer = await session.txn(compare, success)
            except RefusedError as error:
                raise self._refused(error, len(text)) from error
        if not answer.get("succeeded"):
            raise self._conflict()

    async def history(self, limit: int) -> list[Change]:
        """The last changes, newest first.

        Raises:
            SourceError: The cluster cannot be read now, or the user may not read the history.
        """
        changes: list[Change] = []
        keys = self._history
        async with self._place.cluster.session() as session:
            while len(changes) < limit:
                found = await session.read(keys, last=_PAGE)
                changes += [change for entry in found.entries if (change := _change(entry)) is not None]
                if len(found.entries) < _PAGE:
                    break
                keys = KeyRange(self._history.key, found.entries[-1].key)
        return changes[:limit]

    async def close(self) -> None:
        """Nothing is held open."""

    async def _forgotten(self, session: Session, new: bytes, size: int) -> list[dict[str, Any]]:
        """What takes the oldest changes out, so that there is room for a new one of this size."""
        kept = max(1, min(KEPT_CHANGES, KEPT_BYTES // max(size, 1))) - 1
        entries = (await session.read(self._history, keys_only=True)).entries
        if len(entries) <= kept:
            return []
        end = entries[-kept].key if kept else new
        return [{"request_delete_range": KeyRange(self._history.key, end).json}]

    def _conflict(self) -> ConflictError:
        return ConflictError(f"{self.name} has changed meanwhile; read it again")

    def _refused(self, error: RefusedError, size: int) -> SourceError:
        if "too large" in error.told:
            limit = "etcd takes 1.5 MiB in one request unless --max-request-bytes says more"
            return SourceError(f"{self.name}: the document has {size} bytes, too many with its history; {limit}")
        return error


def _unchanged(key: bytes, revision: int) -> dict[str, Any]:
    """That a key is as it was at a revision; 0: that it is not there."""
    return {"key": encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def _put(key: bytes, value: bytes) -> dict[str, Any]:
    return {"request_put": {"key": encoded(key), "value": encoded(value)}}


def _told(change: Change) -> bytes:
    told = json.dumps(dataclasses.asdict(change), ensure_ascii=False).encode()
    return told if len(told) <= _PLAIN_BYTES else gzip.compress(told, mtime=0)


def _change(entry: Entry) -> Change | None:
    """The change that an entry of the history tells; None where another hand wrote it."""
    with contextlib.suppress(ValueError, RecursionError, OSError, EOFError, zlib.error):
        told = gzip.decompress(entry.value) if entry.value.startswith(b"\x1f\x8b") else entry.value
        return change_told(told)
    return None
