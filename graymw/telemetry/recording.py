"""One request as a recorded one: what ``graymw simulate --requests`` reads, one JSON object.

Told are the facts that rules may read: method, path, host, user, region, device and address, and those headers, cookies
and query parameters that the rules in force name. Headers that carry credentials are never told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from graymw.core.reads import Reads
from graymw.runtime.live_facts import LiveFacts

_SECRET: Final = frozenset({"authorization", "proxy-authorization", "cookie", "baggage", "traceparent", "tracestate"})
"""Never told: credentials, cookies as a whole, and what the first hop decided or traced rather than read."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, §5.6.2, lower case
_IN_PATHS: Final = "/!$&'()*+,;=:@-._~"  # RFC 3986, §3.3


def recorded_request(facts: LiveFacts, reads: Reads) -> dict[str, Any]:
    """Facts of a live request in the format of recorded ones; what is absent is left out.

    Args:
        facts: As they came in, before the application ran.
        reads: What the rules in force read.
    """
    host, headers = facts.host, _headers(facts.headers, reads)
    told: dict[str, Any] = {
        "method": facts.method,
        "path": quote(facts.path, safe=_IN_PATHS, errors="replace"),
        "host": None if "host" in headers else f"[{host}]" if ":" in host else host,
        "user": facts.user,
        "region": facts.region,
        "device": facts.device,
        "ip": facts.ip,
        "headers": headers,
        "cookies": {
            name: _cookie(value) for name, value in _named(facts.cookies, reads.cookies, whole=reads.all_cookies)
        },
        "query": {
            name: value
            for name, value in _named(facts.query, reads.query, whole=reads.all_query)
            if name and "=" not in name
        },
    }
    return {name: value for name, value in told.items() if value}


def _headers(fields: Mapping[str, str], reads: Reads) -> dict[str, str]:
    named = _named(fields, reads.headers, whole=reads.all_headers)
    return {name: value for name, value in named if name not in _SECRET and _TOKEN.fullmatch(name)}


def _named(values: Mapping[str, str], names: Iterable[str], *, whole: bool) -> list[tuple[str, str]]:
    return [*values.items()] if whole else [(name, values[name]) for name in names if name in values]


def _cookie(value: str) -> str:
    """A value as a ``Cookie`` header may hold it: quoted where it would lose its own quotes or blanks."""
    bare = value == value.strip() and not (len(value) >= 2 and value[0] == value[-1] == '"')
    return value if bare else f'"{value}"'
