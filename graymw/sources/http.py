"""The rule document at a URL, asked for again and again; only what has changed is sent (RFC 9110, §13)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from typing import Final, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from graymw.errors import Problem, SettingsError, SourceError
from graymw.remote.http import Answer, HttpClient, require
from graymw.remote.tokens import current_token
from graymw.runtime.ports import DocumentFormat, Fetched
from graymw.settings.access import Access
from graymw.settings.redaction import redacted

SETTING: Final = "GRAYMW_RULES"
POLL_SECONDS: Final = 1.0
PATIENT_SECONDS: Final = 60.0
"""Longest time that a server's ``max-age`` is believed."""

FRESH_SECONDS: Final = 2.0
"""What was modified this shortly before the answer may be modified again without a new mark: times have whole seconds,
and many servers make ETags of them (RFC 9110, §8.8.2.2)."""

MAX_BYTES: Final = 4 * 1024 * 1024

_EXAMPLE: Final = "https://config.example.com/rules.yaml"
_FORMATS: Final[dict[str, DocumentFormat]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/(?:[a-z0-9.-]+\+)?(?:x-)?(json|yaml|toml)\b", re.IGNORECASE)
_MAX_AGE: Final = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_EVERY: Final = re.compile(r"every=(\d{1,5})(s|m|)")
_LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|::1", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """A document as a server gave it, and what to ask next.

    Attributes:
        fetched: The document.
        conditions: Header fields of the next request, so that only a change is sent.
        max_age: Seconds for which the server says that it holds; 0 where it says nothing.
    """

    fetched: Fetched
    conditions: Mapping[str, str]
    max_age: float


class HttpSource:
    """A rule document at a URL.

    Args:
        url: ``http:`` or ``https:``; behind ``#every=`` the seconds between two requests. Otherwise counts what the
            server says by ``Cache-Control: max-age``, else ``poll``.
        access: Bearer token, or user and password, and certificates.
        poll: Seconds between two requests.

    Raises:
        SettingsError: The URL is no such URL.
        MissingExtraError: The HTTP library is not installed.
    """

    def __init__(self, url: str, access: Access, *, poll: float = POLL_SECONDS) -> None:
        require("http")
        parts = _parts(url)
        self._every = _seconds(parts.fragment)
        self._poll = poll
        self._origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._name = redacted(url.partition("#")[0])
        self._suffix = PurePosixPath(parts.path).suffix.lower()
        self._proxies = not _LOOPBACK.fullmatch(parts.hostname or "")
        self._access = access.with_login(unquote(parts.username or ""), unquote(parts.password or ""))

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._name

    async def load(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: The server cannot be asked now, refuses, or gives what can be no document.
        """
        async with aclosing(self.watch()) as changes:
            return await anext(changes)

    async def watch(self) -> AsyncGenerator[Fetched]:
        """The document as it is now, then again whenever its content has changed.

        Raises:
            SourceError: The server cannot be asked now, refuses, or gives what can be no document.
        """
        client = HttpClient([self._origin], self._access, backend="http", proxies=self._proxies)
        try:
            seen: Page | None = None
            while True:
                page = await self._page(client, seen)
                if seen is None or page.fetched.text != seen.fetched.text:
                    yield page.fetched
                seen = page
                await asyncio.sleep(self._pause(page))
        finally:
            await client.close()

    async def _page(self, client: HttpClient, seen: Page | None) -> Page:
        headers = {**self._login(), **(seen.conditions if seen is not None else {})}
        if self._every:  # whoever says how often means it, so caches on the way ask the server as well
            headers["cache-control"] = "no-cache"
        answer = await client.request("GET", self._path, headers=headers)
        if answer.status == 304 and seen is not None:
            return Page(seen.fetched, _conditions(answer) or seen.conditions, _max_age(answer))
        return Page(self._fetched(answer), _conditions(answer), _max_age(answer))

    def _pause(self, page: Page) -> float:
        seconds = self._every or max(self._poll, min(page.max_age, PATIENT_SECONDS))
        return seconds * random.uniform(0.9, 1.0)  # noqa: S311 - so that many processes do not ask at once

    def _login(self) -> dict[str, str]:
        token = current_token(self._access)
        if token:
            return {"authorization": f"Bearer {token}"}
        if self._access.user or self._access.password:
            pair = f"{self._access.user}:{self._access.password}".encode()
            return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}

    def _fetched(self, answer: Answer) -> Fetched:
        if answer.status in (404, 410):
            return Fetched(None, self._name)
        if answer.status in (401, 403):
            mend = f"check {SETTING}_TOKEN, or {SETTING}_USER and {SETTING}_PASSWORD"
            raise SourceError(f"{self._name} refuses this client (status {answer.status}); {mend}")
        if 300 <= answer.status < 400:
            target = redacted(answer.headers.get("location", "elsewhere"))
            raise SourceError(f"{self._name} leads to {target} (status {answer.status}); write that into {SETTING}")
        if answer.status != 200:
            raise SourceError(f"{self._name} answers with status {answer.status} ({answer.shown}); check the server")
        if len(answer.content) > MAX_BYTES:
            told = f"{self._name} has {len(answer.content)} bytes, of at most {MAX_BYTES}"
            raise SourceError(f"{told}; name the rule document itself")
        version = hashlib.sha256(answer.content).hexdigest()[:12]
        return Fetched(answer.content, self._name, self._format(answer), version)

    def _format(self, answer: Answer) -> DocumentFormat | None:
        """By the ending of the path, else as the server says."""
        told = _MEDIA_TYPE.match(answer.headers.get("content-type", ""))
        return _FORMATS.get(self._suffix) or (_FORMATS[f".{told[1].lower()}"] if told else None)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        _refuse("it is no URL of a document")
    return parts


def _seconds(fragment: str) -> float:
    if not fragment:
        return 0.0
    every = _EVERY.fullmatch(fragment)
    if every is None or not int(every[1]):
        _refuse(f"#{fragment} means nothing here", "write #every=5s, or leave it out")
    return float(int(every[1]) * (60 if every[2] == "m" else 1))


def _refuse(message: str, mend: str = f"write it like {_EXAMPLE}") -> NoReturn:
    raise SettingsError([Problem(SETTING, message, mend)])


def _conditions(answer: Answer) -> dict[str, str]:
    """What to send along so that the server answers only with a change; nothing where it could overlook one."""
    modified, tag = answer.headers.get("last-modified", ""), answer.headers.get("etag", "")
    if modified:
        try:
            age = parsedate_to_datetime(answer.headers.get("date", "")) - parsedate_to_datetime(modified)
        except (ValueError, TypeError):
            return {}
        if age.total_seconds() < FRESH_SECONDS:
            return {}
    if tag:
        return {"if-none-match": tag}
    return {"if-modified-since": modified} if modified else {}


def _max_age(answer: Answer) -> float:
    """Seconds for which a cache may keep the answer (RFC 9111, §5.2.2); less what it has spent in caches already."""
    control = answer.headers.get("cache-control", "")
    age = _MAX_AGE.search(control)
    if age is None or "no-cache" in control.lower() or "no-store" in control.lower():
        return 0.0
    spent = answer.headers.get("age", "0")
    return max(0.0, float(age[1]) - (float(spent) if spent.isascii() and spent.isdigit() else 0.0))
