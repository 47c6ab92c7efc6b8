"""A Redis server: one key, and the channel named after it. The only module that imports redis-py, at first use."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from graymw.errors import MissingExtraError, SourceError
from graymw.remote.http import tls_context
from graymw.remote.unseen import unseen
from graymw.settings.access import Access

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

PORT: Final = 6379
SECONDS: Final = 5.0
"""How long a connection or an answer may take."""

CLOSE_SECONDS: Final = 1.0
"""How long it may take to let go of all connections."""

PING_SECONDS: Final = 15
"""An idle subscription is kept alive this often, else balancers and firewalls forget it without a word."""


def require_redis() -> None:
    """Say at once, and without importing it, where the library is missing.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("redis") is None:
        raise MissingExtraError("redis", "redis")


class RedisClient:
    """Connections to one server; to be made and used in one event loop. Trouble is told at once, not retried here.

    Args:
        host: Name or address.
        port: Where it listens.
        database: Number of the database.
        secure: Whether TLS is spoken.
        access: User, password and certificates.
        setting: ``GRAYMW_RULES`` or the like, for what to tell people to mend.
    """

    def __init__(
        self, host: str, port: int, database: int, *, secure: bool, access: Access, setting: str = "GRAYMW_RULES"
    ) -> None:
        self._place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._setting = setting
        self._access = access
        self._options: dict[str, Any] = {
            "host": host,
            "port": port,
            "db": database,
            "username": access.user or None,
            "password": access.password or None,
            "socket_timeout": SECONDS,
            "socket_connect_timeout": SECONDS,
            "socket_keepalive": True,
            "health_check_interval": PING_SECONDS,
            "protocol": 2,
            **(_tls(access) if secure else {}),
        }
        self._redis: Redis | None = None
        self._heard: PubSub | None = None

    async def __aenter__(self) -> Self:
        require_redis()
        if "ssl" in self._options:
            tls_context(self._access, "redis")  # says what is wrong with a certificate
        if "redis.asyncio" not in sys.modules:  # some 100 ms of imports: not on the loop that others wait on
            await asyncio.to_thread(importlib.import_module, "redis.asyncio")
        library = importlib.import_module("redis.asyncio")
        retry = importlib.import_module("redis.asyncio.retry").Retry
        backoff = importlib.import_module("redis.backoff").NoBackoff
        self._redis = library.Redis(**self._options, retry=retry(backoff(), 0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        heard: Any = self._heard
        with suppress(Exception), unseen():
            async with asyncio.timeout(CLOSE_SECONDS):  # TLS says good-bye, and waits for an answer
                try:
                    if heard is not None:
                        if heard.connection is not None:
                            await heard.connection.disconnect()  # which ``aclose`` does without waiting for it
                        await heard.aclose()
                finally:  # also where the task that closes is cancelled
                    await self._client().aclose()

    async def get(self, key: str) -> bytes | None:
        """Value of a key; None where there is none.

        Raises:
            SourceError: The server cannot be asked now, refuses, or the key holds something else than a text.
        """
        with self._told(), unseen():
            return _content(await self._client().get(key))

    async def first(self, key: str, count: int) -> list[bytes]:
        """First entries of a list; none where there is no list.

        Raises:
            SourceError: The server cannot be asked now, or refuses.
        """
        with self._told(), unseen():
            found = await self._client().lrange(key, 0, count - 1)
        return [content for content in map(_content, found) if content is not None]

    async def replace(
        self, key: str, value: bytes, *, fits: Callable[[bytes | None], bool], history: tuple[str, bytes, int]
    ) -> bool:
        """Set a key, put an entry before a list, and publish on the key's channel: all of it or nothing.

        Args:
            key: The key.
            value: What it is to hold.
            fits: Whether what it holds now may be replaced.
            history: The list, the entry, and how many entries it keeps.

        Returns:
            Whether it was done; not where what it holds does not fit, or changed meanwhile.

        Raises:
            SourceError: The server cannot be asked now, or refuses.
        """
        changed: type[Exception] = importlib.import_module("redis.exceptions").WatchError
        name, entry, kept = history
        with self._told(), unseen():
            async with self._client().pipeline(transaction=True) as steps:
                await steps.watch(key)
                if not fits(_content(await steps.get(key))):
                    return False
                steps.multi()  # type: ignore[no-untyped-call,unused-ignore]
                steps.set(key, value)
                steps.lpush(name, entry)
                steps.ltrim(name, 0, kept - 1)
                steps.publish(key, "changed")
                try:
                    await steps.execute()
                except changed:
                    return False
        return True

    async def subscribe(self, channel: str) -> None:
        """Listen to a channel; what is published from the return of this on is heard.

        Raises:
            SourceError: The server cannot be reached now, or refuses.
        """
        with self._told(), unseen():
            heard = self._heard = self._client().pubsub()
            await heard.subscribe(channel)
            message = await heard.get_message(timeout=SECONDS)
        if message is None or message["type"] != "subscribe":
            raise SourceError(f"redis at {self._place} did not answer in time; check the address, and that it runs")

    async def published(self, seconds: float) -> bool:
        """Wait for something on the channel; whether something came within the time.

        Raises:
            SourceError: The connection broke, so that something may have been missed.
        """
        assert self._heard is not None  # noqa: S101 - ``subscribe`` comes first
        until = asyncio.get_running_loop().time() + seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            with self._told(), unseen():
                message = await self._heard.get_message(timeout=left)
            if message is not None and message["type"] == "message":
                return True
        return False

    def _client(self) -> Redis:
        assert self._redis is not None  # noqa: S101 - made on entering
        return self._redis

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Trouble as one sentence, without what was sent."""
        errors = importlib.import_module("redis.exceptions")
        where = f"redis at {self._place}"
        try:
            yield
        except (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError) as error:
            mend = f"check {self._setting}_USER and {self._setting}_PASSWORD, and what the user may do"
            raise SourceError(f"{where} refuses this client ({error}); {mend}") from error
        except (errors.ConnectionError, errors.TimeoutError, OSError) as error:
            told = str(error) or type(error).__name__
            raise SourceError(f"{where} cannot be reached ({told}); check the address, and that it runs") from error
        except (errors.RedisError, ValueError) as error:
            raise SourceError(f"{where} refuses: {error}; check the key and the database in {self._setting}") from error


def _content(value: object) -> bytes | None:
    """A reply that is a text or nothing, as bytes."""
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None


def _tls(access: Access) -> Mapping[str, Any]:
    return {
        "ssl": True,
        "ssl_ca_certs": access.ca or None,
        "ssl_certfile": access.cert or None,
        "ssl_keyfile": access.key or access.cert or None,
        "ssl_cert_reqs": "required" if access.verify else "none",
        "ssl_check_hostname": access.verify,
    }
