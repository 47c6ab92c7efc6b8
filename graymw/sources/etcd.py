"""The rule document in a key of etcd, watched from the revision that was read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Final

from graymw.errors import Problem, SettingsError
from graymw.remote.etcd.cluster import Cluster
from graymw.remote.etcd.messages import Entry, KeyRange, Snapshot
from graymw.remote.etcd.mirror import mirror
from graymw.runtime.ports import DocumentFormat, Fetched
from graymw.settings.access import Access

SETTING: Final = "GRAYMW_RULES"
_EXAMPLE: Final = "etcd://127.0.0.1:2379/graymw/rules.yaml"
_FORMATS: Final[dict[str, DocumentFormat]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


class RulesKey:
    """The key that a URL names, and its cluster.

    Args:
        url: ``etcd://HOST:2379,HOST:2379/KEY``; a key that begins with a slash makes two. Its ending tells the format,
            where it has one.
        access: User, password and certificates.

    Attributes:
        key: The key.

    Raises:
        SettingsError: The URL is no such URL, or names no key.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        self.cluster = Cluster(url, access, setting=SETTING, example=_EXAMPLE)
        path = self.cluster.url.path
        if not path or path.endswith("/"):
            raise SettingsError([Problem(SETTING, "it names no key", f"write it like {_EXAMPLE}")])
        self.key = path.encode()
        self._format = _FORMATS.get(PurePosixPath(path).suffix.lower())

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self.cluster.name

    def of(self, found: Snapshot) -> Fetched:
        """What the key holds in what was read of it."""
        return self.fetched(found.entries[0] if found.entries else None)

    def fetched(self, entry: Entry | None) -> Fetched:
        """What the key holds; ``version`` is the store's revision at its last change."""
        if entry is None:
            return Fetched(None, self.name, self._format)
        return Fetched(entry.value, self.name, self._format, str(entry.mod_revision))


class EtcdSource:
    """A rule document in a key of etcd.

    Args:
        url: As for ``RulesKey``.
        access: User, password and certificates.

    Raises:
        SettingsError: The URL is no such URL, or names no key.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._place = RulesKey(url, access)

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._place.name

    async def load(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: The cluster cannot be read now, or the user may not read the key.
        """
        async with self._place.cluster.session() as session:
            return self._place.of(await session.read(KeyRange(self._place.key)))

    async def watch(self) -> AsyncGenerator[Fetched]:
        """The document as it is now, then again whenever its content has changed.

        Raises:
            SourceError: The cluster cannot be read now, or the user may not read the key.
        """
        key = self._place.key
        seen: Fetched | None = None
        async with self._place.cluster.session() as session, aclosing(mirror(session, KeyRange(key))) as changes:
            async for change in changes:
                fetched = self._place.fetched(change.entries.get(key))
                if seen is None or fetched.text != seen.text:
                    yield fetched
                seen = fetched
