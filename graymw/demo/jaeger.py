"""Where a Jaeger shows the demo's gray traces, and whether it finds them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx

from graymw.demo.upstream import Endpoint, is_on_this_machine

LIMIT: Final = 20
_QUERY_PORT: Final = 16686
_TIMEOUT_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.2
_SECOND: Final = 10**9
_TAG: Final = ("gray.version", "v2")


@dataclass(frozen=True, slots=True)
class JaegerSearch:
    """How to find the demo's gray traces in a Jaeger.

    Attributes:
        page: Search page of the UI.
        query: The same by Jaeger's HTTP API.
        older_query: By the API that versions before 2.19 search by.
        trace: Page of one trace.
        found: How many traces the query returned; 0 where Jaeger was not asked, or did not know.
    """

    page: str
    query: str
    older_query: str
    trace: str
    found: int = 0


def pages_beside(endpoint: Endpoint) -> str | None:
    """Where Jaeger's pages usually are when it takes spans at this endpoint; None where that has no host."""
    host = endpoint.host
    if not host:
        return None
    return f"http://[{host}]:{_QUERY_PORT}" if ":" in host else f"http://{host}:{_QUERY_PORT}"


def jaeger_search(pages: str, *, service: str, start: int, end: int, trace_id: str) -> JaegerSearch:
    """Search for gray traces of a service.

    Args:
        pages: URL of Jaeger's query service.
        start: Nanoseconds since the Unix epoch; ``end`` alike.
        trace_id: Of the trace whose page is named too.
    """
    base = pages.rstrip("/")
    tags = quote(json.dumps(dict([_TAG]), separators=(",", ":")), safe="")
    older = f"service={service}&tags={tags}&limit={LIMIT}&start={start // 1000}&end={end // 1000}"
    return JaegerSearch(
        page=f"{base}/search?{older}&lookback=custom",
        query=f"{base}/api/v3/traces?query.serviceName={service}&query.attributes={tags}&query.searchDepth={LIMIT}"
        f"&query.startTimeMin={_rfc3339(start)}&query.startTimeMax={_rfc3339(end + _SECOND)}",
        older_query=f"{base}/api/traces?{older}",
        trace=f"{base}/trace/{trace_id}",
    )


def _rfc3339(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def looked_up(search: JaegerSearch, *, expected: int, patience: float = _LOOK_SECONDS) -> JaegerSearch:
    """The search with the query that this Jaeger answers, and with how many traces it found.

    Args:
        search: What to look up; it comes back unchanged where nobody answers, or nothing is found.
        expected: How many there must be, once Jaeger has stored them all.
        patience: For how many seconds to wait for them.
    """
    deadline = time.monotonic() + patience
    with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=not is_on_this_machine(search.page)) as client:
        while True:
            try:
                best = max(_answers(client, search), key=lambda answer: answer.found)
            except (httpx.TransportError, httpx.InvalidURL):
                return search
            if best.found >= min(expected, LIMIT) or time.monotonic() > deadline:
                return best
            time.sleep(_LOOK_AGAIN_SECONDS)


def _answers(client: httpx.Client, search: JaegerSearch) -> Iterator[JaegerSearch]:
    """The search, as each query answers it; the stable one first."""
    yield replace(search, found=_answer(client, search.query, _count))
    yield replace(search, query=search.older_query, found=_answer(client, search.older_query, _count_older))


def _answer(client: httpx.Client, query: str, count: Callable[[Any], int]) -> int:
    """Traces that a query returns; 0 where its answer is none that it should give."""
    answer = client.get(query)
    if answer.status_code != HTTPStatus.OK:
        return 0
    try:
        return count(answer.json())
    except (ValueError, TypeError, LookupError, AttributeError):
        return 0


def _count(document: Any) -> int:
    """Traces of an answer in OTLP; 0 where one of them is not gray, for then the filter was not understood."""
    gray: dict[str, bool] = {}
    for resource in document["result"]["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                trace_id = span["traceId"]
                gray[trace_id] = gray.get(trace_id, False) or _is_tagged(span)
    return len(gray) if all(gray.values()) else 0


def _is_tagged(span: Mapping[str, Any]) -> bool:
    key, value = _TAG
    return any(pair["key"] == key and pair["value"].get("stringValue") == value for pair in span.get("attributes", ()))


def _count_older(document: Any) -> int:
    """Traces of an answer of the older API."""
    return len(document["data"])
