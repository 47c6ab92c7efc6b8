"""The rule document in a key of Redis, written with its history and its message in one transaction."""

from __future__ import annotations

from typing import Final

from graymw.errors import ConflictError
from graymw.runtime.ports import Change, Fetched
from graymw.settings.access import Access
from graymw.sources.packing import packed, unpacked
from graymw.sources.redis import RedisSource

KEPT_CHANGES: Final = 200
"""Changes that the history keeps."""

KEPT_BYTES: Final = 16 * 1024 * 1024
"""Of long documents fewer changes are kept, so that they take about this much."""


class RedisStore:
    """A rule document in a key of Redis that can be written. Its ``version`` is a hash of what it holds.

    The history is the list ``KEY:history``, newest first.

    Args:
        url: As for ``RedisSource``.
        access: User, password and certificates.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: redis-py is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._source = RedisSource(url, access)
        self._history = f"{self._source.key}:history"

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._source.name

    async def read(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: Redis cannot be asked now, or refuses.
        """
        return await self._source.load()

    async def write(self, change: Change, *, expected: str) -> None:
        """Put a document in the place of the one that was read, keep the change in the history, tell whoever listens.

        Raises:
            ConflictError: The key has changed since.
            SourceError: Redis cannot be asked now, or refuses.
        """
        entry = packed(change)
        kept = max(1, min(KEPT_CHANGES, KEPT_BYTES // len(entry)))
        async with self._source.client() as client:
            written = await client.replace(
                self._source.key,
                change.text.encode(),
                fits=lambda content: self._source.fetched(content).version == expected,
                history=(self._history, entry, kept),
            )
        if not written:
            raise ConflictError(f"{self.name} has changed meanwhile; read it again")

    async def history(self, limit: int) -> list[Change]:
        """The last changes, newest first.

        Raises:
            SourceError: Redis cannot be asked now, or refuses.
        """
        if limit < 1:
            return []
        async with self._source.client() as client:
            entries = await client.first(self._history, limit)
        return [change for change in map(unpacked, entries) if change is not None]

    async def close(self) -> None:
        """Nothing is held open."""
