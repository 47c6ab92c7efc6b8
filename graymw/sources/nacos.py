"""The rule document in a configuration of Nacos, which tells of changes over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Any, Final

from graymw.errors import Problem, SettingsError, SourceError
from graymw.remote.http import require
from graymw.remote.nacos.connection import CONFIG_NOT_FOUND, RESET, NacosConnection, NacosError
from graymw.remote.nacos.credentials import Memory
from graymw.remote.nacos.http_api import Config, NacosHttp
from graymw.remote.nacos.place import PUBLIC, NacosPlace, nacos_place
from graymw.remote.nacos.session import NacosSession, NoPushError
from graymw.remote.pacing import Pace
from graymw.runtime.ports import DocumentFormat, Fetched
from graymw.settings.access import Access
from graymw.sources.nacos_story import without_story

SETTING: Final = "GRAYMW_RULES"
POLL_SECONDS: Final = 0.75
LISTEN_SECONDS: Final = 60.0
"""How often the server is asked whether the content it last told of is still the newest, should a push be lost."""

_WAIT_SECONDS: Final = 30.0
_BURST: Final = 20
_PER_SECOND: Final = 10.0
_EXAMPLE: Final = "nacos://127.0.0.1:8848/rules.yaml?group=DEFAULT_GROUP&namespace=public"
_PUSH: Final = "ConfigChangeNotifyRequest"
_FORMATS: Final[dict[str, DocumentFormat]] = {"yaml": "yaml", "yml": "yaml", "json": "json", "toml": "toml"}


def rules_place(url: str) -> tuple[NacosPlace, str]:
    """Take a URL apart: ``nacos://HOST:8848/DATA_ID?group=&namespace=&grpc_port=``.

    Returns:
        Where in Nacos, and the data id.

    Raises:
        SettingsError: It is no such URL, or names no data id.
    """
    place = nacos_place(url, setting=SETTING, example=_EXAMPLE)
    data_id = place.url.path
    if not data_id or "/" in data_id:
        raise SettingsError([Problem(SETTING, "it names no data id", f"write it like {_EXAMPLE}")])
    return place, data_id


class NacosSource:
    """A rule document in a configuration of Nacos. ``version`` of what it holds is Nacos' MD5 of it.

    Args:
        url: ``nacos://HOST:8848/DATA_ID?group=&namespace=``; several hosts are servers of one cluster of Nacos.
        access: Log-in, access key, certificates.
        poll_seconds: Seconds between two questions where nothing can be pushed and the server does not wait either.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.

    Attributes:
        place: Where in Nacos.
        data_id: Name of the configuration.
    """

    def __init__(self, url: str, access: Access, *, poll_seconds: float = POLL_SECONDS) -> None:
        require("nacos")
        self.place, self.data_id = rules_place(url)
        self._access = access
        self._poll_seconds = poll_seconds
        self._memory = Memory()

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self.place.url.shown

    async def load(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: Nacos cannot be asked now, or refuses.
        """
        http = NacosHttp(self.place, self._access, self._memory)
        try:
            return self.fetched(await http.config(self.data_id))
        finally:
            await http.close()

    async def watch(self) -> AsyncGenerator[Fetched]:
        """The document as it is now, then again whenever its content has changed.

        Raises:
            SourceError: Nacos cannot be asked now, refuses, or the connection that pushed is lost.
        """
        session = NacosSession(self.place, self._access, "config", self._memory)
        seen: Fetched | None = None
        try:
            while True:
                try:
                    found = self._pushed(await session.connection(), session)
                except NoPushError:
                    found = self._polled(session)
                async with aclosing(found) as configs:
                    async for config in configs:
                        fetched = self.fetched(config)
                        if seen is None or fetched.text != seen.text:
                            yield fetched
                        seen = fetched
        finally:
            await session.close()

    async def _pushed(self, connection: NacosConnection, session: NacosSession) -> AsyncGenerator[Config | None]:
        """Read it whenever the server says that it has another one than we have."""
        told = asyncio.Event()

        def take(push: Mapping[str, Any]) -> None:
            if push.get("dataId") == self.data_id and push.get("group") == self.place.group:
                told.set()

        def end(_: asyncio.Future[str]) -> None:
            told.set()

        forget = connection.on(_PUSH, take)
        connection.lost.add_done_callback(end)
        try:
            config = await self._queried(connection, session)
            yield config
            pace = Pace(_BURST, _PER_SECOND)
            while not connection.lost.done():
                await pace.step()
                told.clear()
                changed = await self._has_another(connection, session, config)
                if not changed:
                    with contextlib.suppress(TimeoutError):
                        changed = await asyncio.wait_for(told.wait(), LISTEN_SECONDS)
                if changed and not connection.lost.done():
                    config = await self._queried(connection, session)
                    yield config
            if connection.lost.result() != RESET:
                raise SourceError(f"{self.name}: the connection is lost: {connection.lost.result()}")
        finally:
            forget()
            connection.lost.remove_done_callback(end)

    async def _queried(self, connection: NacosConnection, session: NacosSession) -> Config | None:
        try:
            answer = await connection.request("ConfigQueryRequest", self.key, self.signature(session))
        except NacosError as error:
            if error.error_code == CONFIG_NOT_FOUND:
                return None
            raise
        return Config(
            str(answer.get("content") or ""), str(answer.get("md5") or ""), str(answer.get("contentType") or "")
        )

    async def _has_another(self, connection: NacosConnection, session: NacosSession, config: Config | None) -> bool:
        """Ask for pushes of a change, and whether there is one already."""
        context = {**self.key, "md5": config.md5 if config is not None else ""}
        body = {"listen": True, "configListenContexts": [context]}
        answer = await connection.request("ConfigBatchListenRequest", body, self.signature(session))
        return bool(answer.get("changedConfigs"))

    async def _polled(self, session: NacosSession) -> AsyncGenerator[Config | None]:
        """Ask again and again, or let the server wait, until it is time to try for pushes."""
        http = session.http
        pace = Pace(_BURST, _PER_SECOND)
        while True:
            await pace.step()
            config = await http.config(self.data_id)
            session.polled()
            yield config
            if await http.can_wait():
                md5 = config.md5 if config is not None else ""
                await http.wait_for_config(self.data_id, md5, seconds=_WAIT_SECONDS)
            else:
                await asyncio.sleep(self._poll_seconds * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
            if session.may_push:
                return

    def fetched(self, config: Config | None) -> Fetched:
        """What a configuration holds, without the story of its last change."""
        if config is None:
            return Fetched(None, self.name)
        known = _FORMATS.get(self.type) or _FORMATS.get(config.type.lower())
        return Fetched(without_story(config.content), self.name, known, config.md5)

    @property
    def type(self) -> str:
        """What the data id's ending says of the format; empty without one."""
        return PurePosixPath(self.data_id).suffix.removeprefix(".").lower()

    @property
    def key(self) -> dict[str, str]:
        """What names the configuration to gRPC."""
        tenant = "" if self.place.namespace == PUBLIC else self.place.namespace
        return {"dataId": self.data_id, "group": self.place.group, "tenant": tenant}

    def signature(self, session: NacosSession) -> dict[str, str]:
        """Signature of a request about it."""
        return session.http.credentials.config_signature(self.place.namespace, self.place.group)
