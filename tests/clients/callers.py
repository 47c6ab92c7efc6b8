"""One face for all HTTP clients, so that one contract holds for each of them."""

from __future__ import annotations

import asyncio
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import requests
import urllib3
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor

SYSTEM = ssl.create_default_context()
"""What the system trusts, loaded once: it takes longer than a test."""

try:
    import httpx2
except ImportError:
    httpx2 = None


@dataclass(frozen=True)
class Answered:
    """What the caller got."""

    status: int
    url: str
    body: bytes

    @property
    def server(self) -> str:
        return str(json.loads(self.body)["server"])


class Caller(ABC):
    """A client that keeps its connections and cookies from call to call.

    Attributes:
        refused: What the library raises where nobody listens.
    """

    name: str
    refused: type[Exception]
    hops_are_spans = True
    """Whether the OpenTelemetry instrumentation of the library makes a span of each redirect's hop."""

    @abstractmethod
    def instrumentor(self) -> Any:
        """OpenTelemetry's instrumentor of the library."""

    @abstractmethod
    def calls(
        self,
        *urls: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        proxy: str | None = None,
        trust_env: bool = False,
        ca: str | None = None,
    ) -> list[Answered]:
        """Call one URL after the other, redirects followed, with one client object."""

    def get(self, url: str, **options: Any) -> Answered:
        return self.calls(url, **options)[0]


class Httpx(Caller):
    """httpx, or httpx2 where that is installed."""

    def __init__(self, library: Any = httpx) -> None:
        self.library = library
        self.name = library.__name__
        self.refused = library.ConnectError

    def instrumentor(self) -> Any:
        return HTTPXClientInstrumentor() if self.library is httpx else HTTPX2ClientInstrumentor()

    def calls(
        self, *urls: str, method="GET", headers=None, body=None, proxy=None, trust_env=False, ca=None
    ) -> list[Answered]:
        verify = ssl.create_default_context(cafile=ca) if ca else SYSTEM
        with self.library.Client(follow_redirects=True, proxy=proxy, trust_env=trust_env, verify=verify) as client:
            answers = [client.request(method, url, headers=headers, content=body) for url in urls]
        return [Answered(each.status_code, str(each.url), each.content) for each in answers]


class AsyncHttpx(Httpx):
    """The same, asynchronous."""

    def __init__(self, library: Any = httpx) -> None:
        super().__init__(library)
        self.name = f"{library.__name__}-async"

    def calls(
        self, *urls: str, method="GET", headers=None, body=None, proxy=None, trust_env=False, ca=None
    ) -> list[Answered]:
        verify = ssl.create_default_context(cafile=ca) if ca else SYSTEM

        async def run() -> list[Any]:
            async with self.library.AsyncClient(
                follow_redirects=True, proxy=proxy, trust_env=trust_env, verify=verify
            ) as client:
                return [await client.request(method, url, headers=headers, content=_async(body)) for url in urls]

        return [Answered(each.status_code, str(each.url), each.content) for each in asyncio.run(run())]


class Requests(Caller):
    name = "requests"
    refused = requests.ConnectionError
    hops_are_spans = False

    def instrumentor(self) -> Any:
        return RequestsInstrumentor()

    def calls(
        self, *urls: str, method="GET", headers=None, body=None, proxy=None, trust_env=False, ca=None
    ) -> list[Answered]:
        with requests.Session() as session:
            session.trust_env = trust_env
            session.verify = ca or True
            if proxy:
                session.proxies = {"http": proxy, "https": proxy}
            answers = [session.request(method, url, headers=headers, data=body) for url in urls]
        return [Answered(each.status_code, each.url, each.content) for each in answers]


class RequestsOverTracedUrllib3(Requests):
    """As where urllib3 is instrumented and requests is not."""

    name = "requests-urllib3"
    hops_are_spans = True

    def instrumentor(self) -> Any:
        return URLLib3Instrumentor()


class Urllib3(Caller):
    name = "urllib3"
    refused = urllib3.exceptions.MaxRetryError

    def instrumentor(self) -> Any:
        return URLLib3Instrumentor()

    def calls(
        self, *urls: str, method="GET", headers=None, body=None, proxy=None, trust_env=False, ca=None
    ) -> list[Answered]:
        options: dict[str, Any] = {"retries": urllib3.Retry(connect=0, redirect=5), "ca_certs": ca}
        with urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options) as pools:
            answers = [(url, pools.request(method, url, headers=headers, body=body)) for url in urls]
        return [
            Answered(each.status, each.retries.history[-1].redirect_location or url, each.data)
            if each.retries and each.retries.history
            else Answered(each.status, url, each.data)
            for url, each in answers
        ]


class Aiohttp(Caller):
    name = "aiohttp"
    refused = aiohttp.ClientConnectorError
    hops_are_spans = False

    def instrumentor(self) -> Any:
        return AioHttpClientInstrumentor()

    def calls(
        self, *urls: str, method="GET", headers=None, body=None, proxy=None, trust_env=False, ca=None
    ) -> list[Answered]:
        verify: Any = ssl.create_default_context(cafile=ca) if ca else True

        async def run() -> list[Answered]:
            async with aiohttp.ClientSession(trust_env=trust_env) as session:
                answers = []
                for url in urls:
                    async with session.request(
                        method, url, headers=headers, data=_async(body), proxy=proxy, ssl=verify
                    ) as response:
                        assert response.request_info.url == response.url
                        answers.append(Answered(response.status, str(response.url), await response.read()))
                return answers

        return asyncio.run(run())


def _async(body: Any) -> Any:
    if body is None or isinstance(body, bytes):
        return body

    async def pieces() -> Any:
        for piece in body:
            yield piece

    return pieces()


CALLERS: tuple[Caller, ...] = (
    *(Httpx(), AsyncHttpx(), Requests(), RequestsOverTracedUrllib3(), Urllib3(), Aiohttp()),
    *((Httpx(httpx2), AsyncHttpx(httpx2)) if httpx2 is not None else ()),
)
