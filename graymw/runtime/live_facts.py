"""Facts of a live request, each worked out when a rule first reads it, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl

from graymw.core.carrying import peers
from graymw.core.device import classify
from graymw.core.facts import EMPTY, RequestFacts
from graymw.settings.schema import Settings
from graymw.settings.values import FactSource

CARRIERS: Final = ("baggage", "traceparent", "tracestate")
MAX_FIELDS: Final = 256
"""Cookies or query parameters read at most; what comes after does not count."""


class LiveFacts(RequestFacts):
    """Base of the adapters' facts. A slot left unset is computed by the method of that name in ``_COMPUTE``.

    Args:
        fields: Those header values that the rules read, by lower-case name; repeated ones joined with a comma.
    """

    __slots__ = ("settings",)

    def __init__(self, fields: Mapping[str, str], settings: Settings) -> None:
        self.headers = fields
        self.settings = settings
        self.issued = None

    def __getattr__(self, name: str) -> Any:
        compute = _COMPUTE.get(name)
        if compute is None:
            raise AttributeError(name)
        value = compute(self)
        setattr(self, name, value)
        return value

    def identify(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Set plain facts whose first source, a header, is there; what most requests need costs them least.

        Args:
            headers: ``(fact, header name)``.
        """
        for fact, name in headers:
            value = self.headers.get(name)
            if value:
                setattr(self, fact, value)

    def raw_method(self) -> str:
        """Request method as received."""
        raise AttributeError("raw_method")

    def raw_path(self) -> str:
        """Decoded path without the query."""
        raise AttributeError("raw_path")

    def raw_query(self) -> str:
        """Query string without the question mark, percent-encoded."""
        raise AttributeError("raw_query")

    def peer(self) -> str | None:
        """Address of the socket's peer; None for a Unix socket."""
        raise AttributeError("peer")

    def is_inside(self) -> bool:
        """Whether the request came from inside: trust level ``private``."""
        headers = self.headers
        if "x-forwarded-for" not in headers and "forwarded" not in headers:
            return peers.is_private(self.peer())
        return peers.is_inside(self.peer(), self._values("forwarded"), self._values("x-forwarded-for"))

    def _values(self, name: str) -> list[str]:
        value = self.headers.get(name)
        return [] if value is None else [value]

    def client_ip(self) -> str | None:
        """Address of the client, proxies inside passed over."""
        return peers.client_address(self.peer(), self._values("forwarded"), self._values("x-forwarded-for"))

    def read_cookies(self) -> Mapping[str, str]:
        """Cookies by name."""
        header = self.headers.get("cookie")
        return EMPTY if not header else parse_cookies(header)

    def read_query(self) -> Mapping[str, str]:
        """Query parameters by name."""
        text = self.raw_query()
        return EMPTY if not text else parse_query(text)

    def read_host(self) -> str:
        """Host as addressed, lower case and without its port."""
        return normal_host(self.headers.get("host", ""))

    def identity(self, sources: tuple[FactSource, ...]) -> str | None:
        """First non-empty value of some sources, in their order."""
        for source in sources:
            if source.kind == "header":
                value = self.headers.get(source.name)
            elif source.kind == "cookie":
                value = self.cookies.get(source.name)
            elif source.kind == "query":
                value = self.query.get(source.name)
            else:
                value = self._device_class()
            if value:
                return value
        return None

    def _device_class(self) -> str | None:
        agent = self.headers.get("user-agent")
        return classify(agent, self.headers.get("sec-ch-ua-mobile")) if agent else None


_COMPUTE: Final[Mapping[str, Callable[[LiveFacts], object]]] = MappingProxyType(
    {
        "method": lambda facts: facts.raw_method(),
        "path": lambda facts: facts.raw_path(),
        "host": LiveFacts.read_host,
        "cookies": LiveFacts.read_cookies,
        "query": LiveFacts.read_query,
        "ip": LiveFacts.client_ip,
        "user": lambda facts: facts.identity(facts.settings.user),
        "region": lambda facts: facts.identity(facts.settings.region),
        "device": lambda facts: facts.identity(facts.settings.device),
    }
)


def header_text(name: str, value: bytes) -> str:
    """Text of a header's bytes: UTF-8, undecodable bytes kept as they are, so that buckets are those of a proxy.

    What carries context goes on byte by byte, so it stays what it is.
    """
    return value.decode("latin-1") if name in CARRIERS else value.decode("utf-8", "surrogateescape")


def united(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value for each header, of those that came more than once (RFC 9110, §5.3; cookies: RFC 9113, §8.2.3)."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name not in found:
            found[name] = value
        else:
            found[name] += ("; " if name == "cookie" else ",") + value
    return found


def parse_cookies(header: str) -> Mapping[str, str]:
    """Cookies of a ``Cookie`` header (RFC 6265, §5.4); of equal names the first, which is the most specific path."""
    cookies: dict[str, str] = {}
    for pair in header.split(";", MAX_FIELDS)[:MAX_FIELDS]:
        name, found, value = pair.partition("=")
        name = name.strip()
        if found and name and name not in cookies:
            value = value.strip()
            if len(value) >= 2 and value[0] == value[-1] == '"':
                value = value[1:-1]
            cookies[name] = value
    return cookies


def parse_query(text: str) -> Mapping[str, str]:
    """Decoded query parameters; of equal names the first."""
    query: dict[str, str] = {}
    head = "&".join(text.split("&", MAX_FIELDS)[:MAX_FIELDS])
    for name, value in parse_qsl(head, keep_blank_values=True, errors="surrogateescape"):
        query.setdefault(name, value)
    return query


def normal_host(authority: str) -> str:
    """Host of an authority, lower case and without its port."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host[1 : host.find("]")] if "]" in host else host
    return host.partition(":")[0]
