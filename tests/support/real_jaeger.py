"""A real Jaeger, in memory on loopback, and what its query API finds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest
from serving import serving
from waiting import eventually

from graymw.demo.processes import free_ports

VERSION: Final = "2.13.0"
BUILD: Final = "tests/servers/jaeger/build.sh"
CONFIG: Final = Path(__file__).parents[1] / "servers" / "jaeger" / "config.yaml"
LOOPBACK: Final = "127.0.0.1"
_KINDS: Final = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_OWN: Final = "@jaeger@"
"""How attributes begin that Jaeger adds, one more with each time that it is asked."""
_OPENER: Final = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Span:
    """One span, as Jaeger kept it."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    version: str
    name: str
    kind: str
    attributes: Mapping[str, Any]
    start: int
    end: int


Traces = dict[str, list[Span]]
"""Spans in the order of their start, by trace id."""


class Jaeger:
    """A running Jaeger.

    Attributes:
        otlp: Value for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        thrift_http: Value for ``OTEL_EXPORTER_JAEGER_ENDPOINT``.
        thrift_udp: Value for ``OTEL_EXPORTER_JAEGER_AGENT_PORT``.
        pages: Where its query service is.
    """

    def __init__(self, *, otlp: int, thrift_http: int, thrift_udp: int, query: int) -> None:
        self.otlp = f"http://{LOOPBACK}:{otlp}"
        self.thrift_http = f"http://{LOOPBACK}:{thrift_http}/api/traces"
        self.thrift_udp = str(thrift_udp)
        self.pages = f"http://{LOOPBACK}:{query}"

    def get(self, path: str, **query: str) -> Any:
        """JSON that it answers; None where it says that there is nothing."""
        url = f"{self.pages}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            with _OPENER.open(url, timeout=10) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                if error.code == HTTPStatus.NOT_FOUND:
                    return None
                raise

    def find(self, service: str, tags: Mapping[str, str]) -> Traces:
        """Traces of the last hour in which a span of the service has these tags, as whole traces.

        By the stable API; before v2.19 it knew no attributes, so the ids come by the one before it.
        """
        now = datetime.now(UTC)
        begin, end = now - timedelta(hours=1), now + timedelta(minutes=1)
        query = {
            "query.serviceName": service,
            "query.attributes": json.dumps(tags),
            "query.searchDepth": "1000",
            "query.startTimeMin": begin.isoformat(),
            "query.startTimeMax": end.isoformat(),
        }
        try:
            return _traces(self.get("/api/v3/traces", **query))
        except HTTPError as error:
            if error.code != HTTPStatus.BAD_REQUEST:
                raise
        older = {
            "service": service,
            "tags": json.dumps(tags),
            "limit": "1000",
            "start": str(int(begin.timestamp() * 1e6)),
            "end": str(int(end.timestamp() * 1e6)),
        }
        return {trace_id: self.trace(trace_id) for trace_id in self.ids("/api/traces", **older)}

    def ids(self, path: str, **query: str) -> set[str]:
        """Ids of the traces that a search by either API returns."""
        document = self.get(path, **query)
        if document is None:
            return set()
        return {trace["traceID"] for trace in document["data"]} if "data" in document else set(_traces(document))

    def trace(self, trace_id: str) -> list[Span]:
        """Spans of one trace; none where it is not known."""
        return _traces(self.get(f"/api/v3/traces/{trace_id}")).get(trace_id, [])

    def services(self) -> set[str]:
        """Names that spans came by."""
        return set(self.get("/api/v3/services").get("services", ()))


def _traces(document: Any) -> Traces:
    """Traces of an answer of the stable API, which is OTLP in JSON."""
    spans = sorted(_spans(document["result"]["resourceSpans"] if document else ()), key=lambda span: span.start)
    traces: Traces = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    return traces


def _spans(resources: Iterable[Any]) -> Iterator[Span]:
    for resource in resources:
        process = _attributes(resource["resource"])
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield Span(
                    trace_id=span["traceId"],
                    span_id=span["spanId"],
                    parent_id=span.get("parentSpanId", ""),
                    service=process["service.name"],
                    version=process.get("service.version", ""),
                    name=span["name"],
                    kind=_KINDS[span.get("kind", 1)],
                    attributes={key: value for key, value in _attributes(span).items() if not key.startswith(_OWN)},
                    start=int(span["startTimeUnixNano"]),
                    end=int(span["endTimeUnixNano"]),
                )


def _attributes(of: Any) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in of.get("attributes", ())}


def _value(value: Mapping[str, Any]) -> Any:
    ((kind, found),) = value.items()
    return int(found) if kind == "intValue" else found


def binary() -> Path:
    """Jaeger's program; the test is skipped without one, or fails where servers are required."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graymw"
    cache = Path(os.environ.get("GRAYMW_CACHE") or base)
    named = os.environ.get("JAEGER_BINARY") or shutil.which("jaeger") or cache / f"jaeger-{VERSION}" / "jaeger"
    found = Path(named)
    if not os.access(found, os.X_OK):
        reason = f"no Jaeger at {found}: run {BUILD}, or name one by JAEGER_BINARY"
        if os.environ.get("GRAYMW_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def running(folder: Path) -> Iterator[Jaeger]:
    """Run Jaeger on free ports until it says that it is well, and end it afterwards.

    Args:
        folder: Where its output is kept.
    """
    health, query, otlp, thrift_http, thrift_udp = free_ports(5)
    environ = {
        "JAEGER_LISTEN_HOST": LOOPBACK,
        "JAEGER_HEALTH_PORT": str(health),
        "JAEGER_QUERY_PORT": str(query),
        "JAEGER_OTLP_PORT": str(otlp),
        "JAEGER_THRIFT_HTTP_PORT": str(thrift_http),
        "JAEGER_THRIFT_UDP_PORT": str(thrift_udp),
    }
    with serving([str(binary()), "--config", str(CONFIG)], environ, folder, query) as process:
        eventually(lambda: _is_well(health) or process.process.poll() is not None, 30)
        assert process.process.poll() is None, process.output
        yield Jaeger(otlp=otlp, thrift_http=thrift_http, thrift_udp=thrift_udp, query=query)


def _is_well(port: int) -> bool:
    try:
        with _OPENER.open(f"http://{LOOPBACK}:{port}/status", timeout=5) as answer:
            return bool(json.load(answer)["status"] == "StatusOK")
    except OSError:
        return False
