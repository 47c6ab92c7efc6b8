"""Which request headers the rules in force read, so that a request is scanned once and decodes only those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from graymw.core.reads import Reads
from graymw.runtime.live_facts import CARRIERS
from graymw.runtime.tracing import Propagation, propagation
from graymw.settings.schema import Settings

FORWARDING: Final = ("forwarded", "x-forwarded-for")


@dataclass(frozen=True, slots=True)
class HeaderSelection:
    """Names to pick from a request's headers.

    Attributes:
        by_bytes: Lower-case name as ASGI gives it, to text.
        by_environ: CGI variable as WSGI gives it (``HTTP_X_USER_ID``), to header name.
        identity: ``(fact, header name)`` of the plain facts whose first source is a header.
        everything: Some rule reads the header map as a whole, so every header is picked.
        propagation: What the process's propagator read when this was selected.
    """

    by_bytes: Mapping[bytes, str]
    by_environ: tuple[tuple[str, str], ...]
    identity: tuple[tuple[str, str], ...]
    everything: bool
    propagation: Propagation


def select_headers(reads: Reads, settings: Settings) -> HeaderSelection:
    """Headers that rules with these ``reads`` need: their own, and those that identity comes from."""
    spoken = propagation()
    names = {*CARRIERS, *FORWARDING, *spoken.fields, *reads.headers}
    by_fact = {"user": settings.user, "region": settings.region, "device": settings.device}
    asked = {*reads.facts, *({"user"} if settings.balancer == "sticky" else ())}
    wanted = {fact: sources for fact, sources in by_fact.items() if fact in asked or settings.access_log_facts}
    for source in (source for sources in wanted.values() for source in sources):
        if source.kind == "header":
            names.add(source.name)
        elif source.kind == "cookie":
            names.add("cookie")
        elif source.kind == "user-agent":
            names |= {"user-agent", "sec-ch-ua-mobile"}
    if reads.cookies or reads.all_cookies:
        names.add("cookie")
    if reads.host or settings.access_log_facts:
        names.add("host")
    return HeaderSelection(
        by_bytes=MappingProxyType({name.encode("latin-1", "replace"): name for name in sorted(names)}),
        by_environ=tuple((environ_key(name), name) for name in sorted(names)),
        identity=tuple(
            (fact, sources[0].name) for fact, sources in wanted.items() if sources and sources[0].kind == "header"
        ),
        everything=reads.all_headers,
        propagation=spoken,
    )


def environ_key(name: str) -> str:
    """CGI variable of a request header (PEP 3333): ``x-user-id`` is ``HTTP_X_USER_ID``."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key
