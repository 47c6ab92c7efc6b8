"""A request described by options: its facts come out as those of a live request would."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from graymw.cli.outcome import WrongUseError
from graymw.core.carrying import wire
from graymw.core.context import UNDECIDED, Decision, GrayContext
from graymw.core.document.scalars import moment
from graymw.core.document.tree import Cursor, Node, Problems
from graymw.core.model import RuleDocument
from graymw.runtime.live_facts import LiveFacts, united
from graymw.settings.schema import Settings

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, §5.6.2


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What the options say about a request; None where they are silent."""

    headers: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    method: str = "GET"
    path: str | None = None
    host: str | None = None
    user: str | None = None
    region: str | None = None
    device: str | None = None
    ip: str | None = None


class DescribedRequest(LiveFacts):
    """Facts of a request that was described rather than received."""

    __slots__ = ("_method", "_path", "_query")

    def __init__(self, options: RequestOptions, settings: Settings) -> None:
        parts = _split(options.path)
        super().__init__(_fields(options, parts.netloc), settings)
        self._method = options.method.upper()
        self._path = unquote(parts.path) or "/"
        pairs = [_pair(text, "--query", "--query uid=40") for text in options.queries]
        self._query = "&".join(text for text in (parts.query, urlencode(pairs, errors="surrogateescape")) if text)
        for name in ("user", "region", "device", "ip"):
            told = getattr(options, name)
            if told is not None:
                setattr(self, name, told)

    def raw_method(self) -> str:
        """Method as described."""
        return self._method

    def raw_path(self) -> str:
        """Decoded path without the query."""
        return self._path

    def raw_query(self) -> str:
        """Query string without the question mark, percent-encoded."""
        return self._query

    def peer(self) -> str | None:
        """As over a Unix socket: proxies are believed, and without them nobody knows the client."""
        return None


def _split(path: str | None) -> SplitResult:
    """Authority (empty where none is named), path and query that the option names."""
    whole = path is not None and "://" in path
    try:
        parts = urlsplit(path or "/") if whole else urlsplit(f"//-/{(path or '').removeprefix('/')}")
    except ValueError:
        raise WrongUseError(f"--path {path!r} is no path and no URL; write it like --path '/cart?uid=40'") from None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2] if whole else "")


def _fields(options: RequestOptions, authority: str) -> dict[str, str]:
    """Header values by lower-case name, as an adapter would hand them over."""
    cookies = (("cookie", "=".join(_pair(text, "--cookie", "--cookie uid=40"))) for text in options.cookies)
    fields = united([*map(_header, options.headers), *cookies])
    host = options.host or authority
    if host:
        fields["host"] = host
    return fields


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not _TOKEN.fullmatch(name.strip()):
        raise WrongUseError(f"--header {text!r} is no header; write it like --header 'x-user-id: 40'")
    return name.strip().lower(), value.strip(" \t")  # RFC 9110, §5.5: no other blanks


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise WrongUseError(f"{option} {text!r} has no name and value; write it like {example}")
    return name, value


def clock_at(text: str | None) -> Callable[[], float]:
    """The clock that stands at a time, or the real one.

    Raises:
        WrongUseError: It is no RFC 3339 time.
    """
    if text is None:
        return time.time
    problems = Problems()
    at = moment(Cursor(Node(text), "", problems), "--at")
    if at is None:
        problem = problems.in_order()[0]
        raise WrongUseError(f"{problem.message}; {problem.mend}")
    return lambda: at


def inherited(baggage: Iterable[str], document: RuleDocument, service: str) -> tuple[GrayContext, tuple[str, ...]]:
    """What an upstream hop decided, by the ``baggage`` headers it sends, and why some of it would be ignored.

    Args:
        baggage: Values of ``baggage`` headers.
        service: Logical name of this hop.
    """
    text = wire.separate(tuple(baggage)).gray
    if not text:
        return UNDECIDED, ()
    members = wire.read(text)
    stable = {release.name: release.stable for release in document.releases}
    governing = document.governing(service)
    decisions = [
        Decision(name, version, "inherited", None, members.revision, stable.get(name))
        for name, version in members.versions
    ]
    context = GrayContext(decisions, revision=members.revision, primary=governing.name if governing else None)
    return context, members.faults
