"""HTTP to config centres and registries: the one place that knows which library speaks it.

What it sends is nobody's request: it makes no spans, carries no baggage, and is not routed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json as json_
import logging
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graymw.errors import MissingExtraError, SourceError
from graymw.remote.unseen import is_unseen, unseen
from graymw.settings.access import Access

if TYPE_CHECKING:
    import httpx

MAX_BODY: Final = 16 * 1024 * 1024
"""Longest answer that is read, in bytes."""

MAX_SHOWN: Final = 4096
_UNUSED: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""What a client without TLS is given, as it would make one itself. Made before any fork: a child whose parent forked
while another thread was inside OpenSSL (gunicorn's control server is starting then) waits for ever for its lock."""

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 30.0
"""How long a whole answer may take once it should have begun: one that trickles in would be waited for for ever."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end.

    Attributes:
        headers: Names in lower case.
        unshown: Credentials that were sent along, which some servers repeat in their errors.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    unshown: tuple[str, ...] = field(default=(), repr=False)

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            SourceError: It is none.
        """
        try:
            return json_.loads(self.content)
        except (ValueError, RecursionError):
            raise SourceError(f"the answer (status {self.status}) is no JSON: {self.shown}") from None

    @property
    def shown(self) -> str:
        """Beginning of the body for a message, on one line."""
        text = self.text[:MAX_SHOWN]
        for secret in self.unshown:
            text = text.replace(secret, "***")
        line = " ".join(text[:200].split())
        return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)


class HttpClient:
    """A client of one backend, which may have several servers. To be made and used in one event loop.

    Args:
        base_urls: Where each server is; the next one is tried where one cannot be reached, and kept.
        access: Credentials for TLS; log-in headers are the caller's business.
        backend: Name for people, which is also the extra that brings the library.
        headers: For every request.
        timeout: Seconds for an answer, where a request does not say otherwise.
        proxies: Whether the proxies of the environment are used.

    Raises:
        MissingExtraError: The library is not installed.
        SourceError: A certificate cannot be used.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        access: Access,
        *,
        backend: str,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        proxies: bool = False,
    ) -> None:
        self._httpx = library(backend)
        logging.getLogger("httpx").addFilter(_UNLOGGED)
        self._base_urls = tuple(base_urls)
        self._backend = backend
        self._timeout = timeout
        self._first = 0
        self._client: httpx.AsyncClient = self._httpx.AsyncClient(
            verify=tls_context(access, backend) if any(url.startswith("https:") for url in base_urls) else _UNUSED,
            headers={"user-agent": "graymw", **(headers or {})},
            trust_env=proxies,
            limits=self._httpx.Limits(max_connections=None, max_keepalive_connections=16),
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        data: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of the answer's beginning
    ) -> Answer:
        """Send one request and read the answer, whatever its status.

        Args:
            path: With its leading slash, encoded.
            timeout: Seconds in which the answer must begin; it must end ``READ_SECONDS`` later.

        Raises:
            SourceError: No server can be reached, or none answers in time.
        """
        body = {"params": params, "json": json, "data": data, "content": content, "headers": headers}
        seconds = timeout or self._timeout
        try:
            async with asyncio.timeout(seconds * len(self._base_urls) + READ_SECONDS):
                return await self._answer(method, path, body, seconds)
        except TimeoutError:
            raise SourceError(f"{self._backend}: the answer to {path} does not end; check what listens there") from None

    async def _answer(self, method: str, path: str, body: Mapping[str, Any], seconds: float) -> Answer:
        async with self._sent(method, path, body, seconds) as response:
            read = bytearray()
            with self._told(response.url):
                async for chunk in response.aiter_bytes():
                    read += chunk
                    if len(read) > MAX_BODY:
                        raise SourceError(f"{self._backend}: the answer to {path} is longer than {MAX_BODY} bytes")
            return Answer(response.status_code, _lowered(response.headers), bytes(read), _credentials(body))

    @asynccontextmanager
    async def lines(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float,
    ) -> AsyncIterator[tuple[int, AsyncGenerator[bytes]]]:
        """Send one request and read its answer line by line as it comes.

        Args:
            read_timeout: Seconds of silence after which the stream counts as broken.

        Yields:
            The status, and the lines without their ends. Reading raises ``SourceError`` where the stream breaks.
        """
        body = {"params": params, "json": json, "headers": headers}
        async with self._sent(method, path, body, read_timeout) as response:
            yield response.status_code, self._lines(response)

    async def _lines(self, response: httpx.Response) -> AsyncGenerator[bytes]:
        rest = bytearray()
        with self._told(response.url):
            async for chunk in response.aiter_bytes():
                rest += chunk
                if b"\n" in chunk:
                    *whole, last = bytes(rest).split(b"\n")
                    rest = bytearray(last)
                    for line in whole:
                        yield line.rstrip(b"\r")
                if len(rest) > MAX_BODY:
                    raise SourceError(f"{self._backend}: a line of {response.url.path} is longer than {MAX_BODY} bytes")
        if rest:
            yield bytes(rest)

    @asynccontextmanager
    async def _sent(
        self, method: str, path: str, body: Mapping[str, Any], seconds: float
    ) -> AsyncIterator[httpx.Response]:
        """The response of the first server that can be reached, its body not yet read."""
        timeout = self._httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds), pool=None)
        places = len(self._base_urls)
        for attempt in range(places):
            place = (self._first + attempt) % places
            request = self._client.build_request(
                method, self._base_urls[place] + path, timeout=timeout, extensions={"trace": _Handshake()}, **body
            )
            try:
                with self._told(request.url), unseen():
                    response = await self._client.send(request, stream=True)
            except UnreachableError:
                if attempt + 1 == places:
                    raise
                continue
            self._first = place
            try:
                yield response
            finally:
                with contextlib.suppress(self._httpx.HTTPError, OSError):
                    await response.aclose()
            return

    @contextmanager
    def _told(self, url: httpx.URL) -> Iterator[None]:
        """Trouble as one sentence, without the query, which may hold what should not be seen."""
        where = f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}"
        try:
            yield
        except self._httpx.TimeoutException as error:
            what = "did not answer in time"
            kind = UnreachableError if isinstance(error, self._httpx.ConnectTimeout) else SourceError
            raise kind(f"{self._backend} at {where} {what}; check the address, and that it runs") from error
        except (self._httpx.ConnectError, ssl.SSLError) as error:
            stranger = "CERTIFICATE_VERIFY_FAILED" in str(error)
            raise UnreachableError(
                f"{self._backend} at {where} cannot be reached ({error or type(error).__name__}); "
                + ("check the setting that ends in _CA" if stranger else "check the address, and that it runs")
            ) from error
        except (self._httpx.HTTPError, self._httpx.InvalidURL, OSError, asyncio.IncompleteReadError) as error:
            told = str(error) or type(error).__name__
            raise SourceError(f"{self._backend} at {where} broke off the answer ({told})") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


class _Unlogged(logging.Filter):
    """Keeps our requests out of the library's log: a line for each heartbeat, with a URL that may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not is_unseen()


_UNLOGGED: Final = _Unlogged()


class _Handshake:
    """Closes a connection whose TLS handshake is cancelled; httpcore leaves that to the garbage collector."""

    def __init__(self) -> None:
        self._stream: Any = None

    async def __call__(self, event: str, told: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = told["return_value"]
        elif event == "connection.start_tls.failed" and self._stream is not None:
            await self._stream.aclose()


class UnreachableError(SourceError):
    """No connection could be made; the request was not sent."""


def require(backend: str) -> None:
    """Say at once, and without importing it, where the HTTP library is missing.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("httpx") is None:
        raise MissingExtraError("httpx", backend)


def library(backend: str) -> Any:
    """The HTTP library.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import httpx  # noqa: PLC0415 - only where something remote is used
    except ImportError:
        raise MissingExtraError("httpx", backend) from None
    return httpx


def tls_context(access: Access, backend: str) -> ssl.SSLContext:
    """How a TLS server is checked, and what it is shown of us.

    Raises:
        SourceError: A certificate or key cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=access.ca or None)
        if not access.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if access.cert:
            context.load_cert_chain(access.cert, access.key or None, password="")
    except (OSError, ValueError) as error:
        missing = next((path for path in (access.ca, access.cert, access.key) if path and not Path(path).exists()), "")
        told = f"{missing} is not there" if missing else str(error)
        raise SourceError(
            f"{backend}: the certificates cannot be used: {told}; check the settings that end in _CA, _CERT and _KEY"
        ) from error
    return context


def _lowered(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _credentials(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Values of a request that no message repeats, the longest first; too short ones would be found anywhere."""
    parts = (body.get("headers"), body.get("params"), body.get("data"), body.get("json"))
    named = [(name, value) for part in parts if isinstance(part, Mapping) for name, value in part.items()]
    found = {value for name, value in named if isinstance(value, str) and _SECRET.search(name)}
    found |= {value.partition(" ")[2] for value in found}
    return tuple(sorted((value for value in found if len(value) >= MIN_SECRET), key=len, reverse=True))


MIN_SECRET: Final = 6
_SECRET: Final = re.compile(r"auth|token|pass|secret|signature", re.IGNORECASE)
