"""Names in a described request that nothing reads and that are all but one that something reads: typing errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from graymw.core.facts import RequestFacts
from graymw.core.reads import Reads
from graymw.runtime.header_selection import select_headers
from graymw.settings.schema import Settings

_LIKE = 0.8
"""How alike two names have to be, as ``difflib`` counts: ``x-usr-id`` is 0.94 of ``x-user-id``, ``x-user`` 0.8."""


def unread(facts: RequestFacts, reads: Reads, settings: Settings) -> Iterator[str]:
    """A sentence for each such header, cookie and query parameter.

    Args:
        facts: The request.
        reads: What the rules read.
        settings: Where user, region and device come from.
    """
    if not reads.all_headers:
        yield from _astray("header", facts.headers, frozenset(select_headers(reads, settings).by_bytes.values()))
    if not reads.all_cookies:
        yield from _astray("cookie", facts.cookies, reads.cookies | _sources("cookie", reads, settings))
    if not reads.all_query:
        yield from _astray("query parameter", facts.query, reads.query | _sources("query", reads, settings))


def _sources(kind: str, reads: Reads, settings: Settings) -> frozenset[str]:
    """Names that those facts come from which the rules read."""
    by_fact = {"user": settings.user, "region": settings.region, "device": settings.device}
    sources = (source for fact in reads.facts & by_fact.keys() for source in by_fact[fact])
    return frozenset(source.name for source in sources if source.kind == kind)


def _astray(kind: str, given: Mapping[str, str], read: frozenset[str]) -> Iterator[str]:
    for name in given:
        if name not in read and (meant := difflib.get_close_matches(name, sorted(read), 1, _LIKE)):
            yield f"nothing reads the {kind} {name}; did you mean {meant[0]}?"
