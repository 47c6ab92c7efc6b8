"""The rule document in a key of Consul, watched by a blocking query."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

from graymw.errors import Problem, SettingsError, SourceError
from graymw.remote.consul import PORT, ConsulClient
from graymw.remote.http import Answer, require
from graymw.remote.url import BackendUrl, parse_backend_url
from graymw.runtime.ports import DocumentFormat, Fetched
from graymw.settings.access import Access

SETTING: Final = "GRAYMW_RULES"
_EXAMPLE: Final = "consul://127.0.0.1:8500/graymw/rules.yaml"
_FORMATS: Final[dict[str, DocumentFormat]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


def rules_url(url: str) -> BackendUrl:
    """Take a URL apart: ``consul://HOST:8500/KEY?datacenter=&namespace=``.

    Raises:
        SettingsError: It is no such URL, or names no key.
    """
    parameters = ("datacenter", "namespace")
    parsed = parse_backend_url(url, setting=SETTING, default_port=PORT, parameters=parameters, example=_EXAMPLE)
    if not parsed.path or parsed.path.endswith("/"):
        raise SettingsError([Problem(SETTING, "it names no key", f"write it like {_EXAMPLE}")])
    return parsed


def path_of(key: str) -> str:
    """Where a key is asked for."""
    return f"/v1/kv/{quote(key, safe='/')}"


class ConsulSource:
    """A rule document in a key of Consul. ``version`` of what it holds is the key's ``ModifyIndex``.

    Args:
        url: ``consul://HOST:8500/KEY?datacenter=&namespace=``; the key's ending tells the format, where it has one.
        access: Token and certificates.

    Attributes:
        url: The URL, taken apart.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        require("consul")
        self.url = rules_url(url)
        self._access = access

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self.url.shown

    async def load(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: Consul cannot be asked now, or the token may not read the key.
        """
        async with self._client() as client:
            return self.fetched(await client.read(path_of(self.url.path), {"consistent": ""}))

    async def watch(self) -> AsyncGenerator[Fetched]:
        """The document as it is now, then again whenever its content has changed.

        Raises:
            SourceError: Consul cannot be asked now, or the token may not read the key.
        """
        seen: Fetched | None = None
        async with self._client() as client, aclosing(client.changes(path_of(self.url.path), {})) as answers:
            async for answer in answers:
                found = self.fetched(answer)
                if seen is None or found.text != seen.text:
                    yield found
                seen = found

    def fetched(self, answer: Answer) -> Fetched:
        """What an answer about the key holds.

        Raises:
            SourceError: It is no answer of Consul's.
        """
        text, version = None, ""
        if answer.status == 200:
            try:
                (entry,) = answer.json()
                text = base64.b64decode(entry["Value"] or b"", validate=True)
                version = str(entry["ModifyIndex"])
            except (ValueError, KeyError, TypeError, binascii.Error):
                told = f"{self.name} answers {answer.shown!r}"
                raise SourceError(f"{told}; check that it is Consul that listens there") from None
        suffix = PurePosixPath(self.url.path).suffix.lower()
        return Fetched(text, self.name, _FORMATS.get(suffix), version)

    def _client(self) -> ConsulClient:
        return ConsulClient(self.url, self._access, setting=SETTING)
