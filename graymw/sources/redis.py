"""The rule document in a key of Redis. A message on the channel named after the key tells that it has changed.

Redis itself tells nobody of a change unless its configuration asks for that, so who writes the key also publishes:
``MULTI``, ``SET KEY …``, ``PUBLISH KEY changed``, ``EXEC``. A poll finds what was written without.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncGenerator
from pathlib import PurePosixPath
from typing import Final

from graymw.errors import Problem, SettingsError, SourceError
from graymw.remote.redis import PORT, RedisClient, require_redis
from graymw.remote.url import parse_backend_url
from graymw.runtime.ports import DocumentFormat, Fetched
from graymw.settings.access import Access

SETTING: Final = "GRAYMW_RULES"
POLL_SECONDS: Final = 1.0
POLL_BYTES_PER_SECOND: Final = 65_536
"""Longer documents are polled less often, so that polling takes no more than this; messages are heeded at once."""

MAX_BYTES: Final = 8 * 1024 * 1024
_EXAMPLE: Final = "redis://127.0.0.1:6379/0?key=graymw:rules"
_FORMATS: Final[dict[str, DocumentFormat]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


class RedisSource:
    """A rule document in a key of Redis.

    Args:
        url: ``redis://HOST:6379/DATABASE?key=KEY``; ``rediss:`` or ``redis+https:`` for TLS. The key's ending tells the
            format, where it has one.
        access: User, password and certificates.
        poll: Seconds between two looks at the key, where nothing is published.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: redis-py is not installed.

    Attributes:
        key: The key.
    """

    def __init__(self, url: str, access: Access, *, poll: float = POLL_SECONDS) -> None:
        require_redis()
        parsed = parse_backend_url(url, setting=SETTING, default_port=PORT, parameters=("key",), example=_EXAMPLE)
        self._name = parsed.shown
        self.key = parsed.query.get("key", "")
        self._poll = poll
        if not self.key:
            raise SettingsError([Problem(SETTING, "it names no key", f"write it like {_EXAMPLE}")])
        if len(parsed.hosts) > 1:
            raise SettingsError([Problem(SETTING, "it names several servers", "name one, or a name that leads to one")])
        self._host, self._port = parsed.hosts[0]
        self._database = _database(parsed.path)
        self._secure = parsed.secure or parsed.scheme == "rediss"
        self._access = access.with_login(parsed.user, parsed.password)

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._name

    async def load(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: Redis cannot be asked now, or refuses.
        """
        async with self.client() as client:
            return self.fetched(await client.get(self.key))

    async def watch(self) -> AsyncGenerator[Fetched]:
        """The document as it is now, then again whenever its content has changed.

        Raises:
            SourceError: Redis cannot be asked now, or refuses.
        """
        async with self.client() as client:
            await client.subscribe(self.key)  # before reading: what is written in between is published as well
            content = await client.get(self.key)
            yield self.fetched(content)
            while True:
                await client.published(self._pause(content))
                now = await client.get(self.key)
                if now != content:
                    content = now
                    yield self.fetched(content)

    def client(self) -> RedisClient:
        """Connections to the server, to be entered."""
        return RedisClient(self._host, self._port, self._database, secure=self._secure, access=self._access)

    def fetched(self, content: bytes | None) -> Fetched:
        """What the key's value holds.

        Raises:
            SourceError: It is too long.
        """
        if content is not None and len(content) > MAX_BYTES:
            told = f"the key {self.key} has {len(content)} bytes, of at most {MAX_BYTES}"
            raise SourceError(f"{told}; name the key of the rule document")
        version = hashlib.sha256(content).hexdigest()[:12] if content is not None else ""
        return Fetched(content, self._name, _FORMATS.get(PurePosixPath(self.key).suffix.lower()), version)

    def _pause(self, content: bytes | None) -> float:
        seconds = max(self._poll, len(content or b"") / POLL_BYTES_PER_SECOND)
        return seconds * random.uniform(0.9, 1.0)  # noqa: S311 - so that many processes do not ask at once


def _database(path: str) -> int:
    if not path:
        return 0
    if not path.isascii() or not path.isdigit():
        raise SettingsError([Problem(SETTING, f"{path!r} is no number of a database", f"write it like {_EXAMPLE}")])
    return int(path)
