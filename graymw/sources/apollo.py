"""The rule document in a namespace of Apollo, told of its releases by a long poll."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Final

from graymw.errors import Problem, SettingsError
from graymw.remote.apollo import PORT, ApolloClient, Notified, Place
from graymw.remote.http import require
from graymw.remote.pacing import Pace
from graymw.remote.url import parse_backend_url
from graymw.runtime.ports import DocumentFormat, Fetched
from graymw.settings.access import Access

SETTING: Final = "GRAYMW_RULES"
PAUSE_SECONDS: Final = 1.0
"""Time between two polls where the first brought no news: some stand-ins for Apollo do not hold them."""

_BURST: Final = 20
_PER_SECOND: Final = 10.0
_EXAMPLE: Final = "apollo://127.0.0.1:8080/shop/default/rules.yaml"
_FORMATS: Final[dict[str, DocumentFormat]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
_CONTENT: Final = "content"
"""Where Apollo keeps the text of a namespace that is one document."""


class ApolloSource:
    """A rule document in a namespace of Apollo: one that is a document (``rules.yaml``), or a key of another.

    Args:
        url: ``apollo://HOST:8080/APP/CLUSTER/NAMESPACE?key=&label=&ip=``; the namespace's ending tells the format,
            where it has one.
        access: ``secret_key``, where the application has access keys, and certificates.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access) -> None:
        require("apollo")
        parameters = ("key", "label", "ip")
        parsed = parse_backend_url(url, setting=SETTING, default_port=PORT, parameters=parameters, example=_EXAMPLE)
        parts = parsed.path.split("/")
        if len(parts) != 3 or not all(parts):
            told = "it does not name application, cluster and namespace"
            raise SettingsError([Problem(SETTING, told, f"write it like {_EXAMPLE}")])
        label, address = (parsed.query.get(name, "") for name in ("label", "ip"))
        self._place = Place(parts[0], parts[1], parts[2], shown=parsed.shown, label=label, ip=address)
        self._key = parsed.query.get("key", _CONTENT)
        self._base_urls = parsed.base_urls
        self._access = access

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._place.shown

    async def load(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: No server can be asked now, or it refuses.
        """
        async with aclosing(self.watch()) as changes:
            return await anext(changes)

    async def watch(self) -> AsyncGenerator[Fetched]:
        """The document as it is now, then again whenever its content has changed.

        The first poll tells at once of the last release, so that one that came before the poll is not missed; a minute
        without news ends in a look as well.

        Raises:
            SourceError: No server can be asked now, or it refuses.
        """
        async with ApolloClient(self._base_urls, self._place, self._access) as client:
            seen = Notified()
            known = self._fetched(await client.configurations(seen))
            yield known
            pace = Pace(_BURST, _PER_SECOND)
            while True:
                await pace.step()
                news = await client.notified(seen)
                if news is None or news.number == seen.number:
                    await asyncio.sleep(PAUSE_SECONDS)
                seen = news or seen
                found = self._fetched(await client.configurations(seen))
                if found.text != known.text:
                    known = found
                    yield known

    def _fetched(self, configurations: Mapping[str, str] | None) -> Fetched:
        text = (configurations or {}).get(self._key)
        version = hashlib.sha256(text.encode()).hexdigest()[:12] if text is not None else ""
        suffix = PurePosixPath(self._place.namespace).suffix.lower() if self._key == _CONTENT else ""
        return Fetched(text, self._place.shown, _FORMATS.get(suffix), version)
