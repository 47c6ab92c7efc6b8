"""The rule document in a configuration of Nacos, written by comparing its MD5."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from typing import Final

from graymw.errors import ConflictError, SourceError
from graymw.remote.loop_bound import LoopBound
from graymw.remote.nacos.connection import NacosConnection, NacosError
from graymw.remote.nacos.credentials import Memory
from graymw.remote.nacos.http_api import Config, Release
from graymw.remote.nacos.session import NacosSession
from graymw.runtime.ports import Change, Fetched
from graymw.settings.access import Access
from graymw.sources.nacos import NacosSource
from graymw.sources.nacos_story import story_of, with_story, without_story

SHOWN_SECONDS: Final = 5.0
"""How long what was written may take to be read: a server serves from a copy of its storage."""

_LOOK_SECONDS: Final = 0.02
_NOTHING: Final = "0" * 32
"""No document has this MD5, so that who compares with it writes only where there is no document."""

_CONFLICT: Final = "md5 may have changed"
_READ_AT_ONCE: Final = 8


class NacosStore:
    """A rule document in a configuration of Nacos that can be written. Its history is the one that Nacos keeps.

    The user needs to write the configuration; to read its history, what an administrator's interface asks for.

    Args:
        url: As for ``NacosSource``.
        access: Log-in, access key, certificates.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._source = NacosSource(url, access)
        memory = Memory()
        self._session = LoopBound(lambda: NacosSession(self._source.place, access, "config", memory))
        self._compares = False

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._source.name

    async def read(self) -> Fetched:
        """The document as it is now; its ``version`` is Nacos' MD5.

        Raises:
            SourceError: Nacos cannot be asked now, or refuses.
        """
        return self._source.fetched(await self._config())

    async def write(self, change: Change, *, expected: str) -> None:
        """Put a document in the place of the one that was read, with its story.

        Raises:
            ConflictError: Somebody else has written meanwhile; nothing was changed.
            SourceError: Nacos cannot be reached now, refuses, or does not compare what it replaces.
        """
        text = with_story(change)
        if hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() == expected:
            return  # nothing would change
        connection = await self._session.get().connection()
        if not self._compares:
            await self._try_comparing(connection)
        if expected and await self._config() is None:  # Nacos compares with nothing where there is nothing
            raise self._conflict()
        try:
            await self._publish(connection, self._source.data_id, text, expected or _NOTHING)
        except NacosError as error:
            if _CONFLICT in str(error):
                raise self._conflict() from error
            raise
        await self._shown(expected)

    async def history(self, limit: int) -> list[Change]:
        """The last changes, newest first. Of those by others it knows when, and who where Nacos has a log-in.

        Raises:
            SourceError: Nacos cannot be asked now, or the user may not read the history.
        """
        http = self._session.get().http
        releases = await http.releases(self._source.data_id, limit + 1)
        at_once = asyncio.Semaphore(_READ_AT_ONCE)

        async def replaced(release: Release) -> str | None:
            async with at_once:
                return await http.replaced_by(self._source.data_id, release)

        config = await self._config()
        texts = [config.content if config is not None else None, *await asyncio.gather(*map(replaced, releases))]
        published = [*releases, Release("", "", 0.0, "")]
        told = (_change(text, release) for text, release in zip(texts, published, strict=True) if text is not None)
        return list(told)[:limit]

    async def close(self) -> None:
        """Let go of connections."""
        session = self._session.take()
        if session is not None:
            await session.close()

    async def _config(self) -> Config | None:
        return await self._session.get().http.config(self._source.data_id)

    async def _shown(self, replaced: str) -> None:
        """Wait until what was written is what is read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHOWN_SECONDS):
                while True:
                    config = await self._config()
                    if config is not None and config.md5 != replaced:
                        return
                    await asyncio.sleep(_LOOK_SECONDS)

    async def _publish(self, connection: NacosConnection, data_id: str, text: str, replaced: str) -> None:
        more = {"type": self._source.type}
        body = {**self._source.key, "dataId": data_id, "content": text, "casMd5": replaced, "additionMap": more}
        await connection.request("ConfigPublishRequest", body, self._source.signature(self._session.get()))

    async def _try_comparing(self, connection: NacosConnection) -> None:
        """Find out whether a write that should be refused is: Nacos 2 on its embedded storage takes it."""
        if await self._session.get().http.is_v3():
            self._compares = True
            return
        data_id = f"graymw-probe-{secrets.token_hex(8)}"
        try:
            await self._publish(connection, data_id, "first", _NOTHING)
            await self._publish(connection, data_id, "second", _NOTHING)
        except NacosError as error:
            if _CONFLICT not in str(error):
                raise
            self._compares = True
        finally:
            body = {**self._source.key, "dataId": data_id}
            await connection.request("ConfigRemoveRequest", body, self._source.signature(self._session.get()))
        if not self._compares:
            raise SourceError(
                f"{self.name} does not compare what it replaces, so that changes would be lost: Nacos 2 does so "
                "with an external database only; publish in its console, or use Nacos 3"
            )

    def _conflict(self) -> ConflictError:
        return ConflictError(f"{self.name} has changed meanwhile; read it again")


def _change(text: str, published: Release) -> Change:
    return story_of(text) or Change(without_story(text), "", published.at, published.who, "")
