"""A Jaeger of each kind, as far as its answers to the demo's search go; the real one is in tests/servers."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from graymw.demo.jaeger import JaegerSearch, jaeger_search, looked_up, pages_beside
from graymw.demo.upstream import Endpoint

START = 1_795_000_000_123_456_789
STABLE, OLDER = "/api/v3/traces", "/api/traces"
Answer = tuple[int, Any]


def search_at(pages: str) -> JaegerSearch:
    return jaeger_search(pages, service="edge", start=START, end=START + 10**9, trace_id="abc")


@contextmanager
def answering(answers: Callable[[str], Answer]) -> Iterator[JaegerSearch]:
    """Whatever answers by path; yields the search there."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = answers(urlsplit(self.path).path)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield search_at(f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
            thread.join()


def in_otlp(*versions: str) -> Any:
    """Traces of two spans each, of which the second is of this version."""
    return {
        "result": {
            "resourceSpans": [
                {"scopeSpans": [{"spans": [{"traceId": f"{number}"}, {"traceId": f"{number}", "attributes": tags}]}]}
                for number, version in enumerate(versions)
                for tags in [[{"key": "gray.version", "value": {"stringValue": version}}]]
            ]
        }
    }


OF_2_20 = {STABLE: (200, in_otlp("v2", "v2")), OLDER: (200, {"data": [{}, {}]})}
OF_MAIN = {STABLE: (200, in_otlp("v2", "v2")), OLDER: (404, b"404 page not found")}
OF_2_13 = {STABLE: (400, {"error": {"httpCode": 400}}), OLDER: (200, {"data": [{}, {}]})}
WITHOUT_A_FILTER = {STABLE: (200, in_otlp("v2", "v1", "v2")), OLDER: (200, {"data": [{}, {}]})}


@pytest.mark.parametrize(
    ("jaeger", "path"), [(OF_2_20, STABLE), (OF_MAIN, STABLE), (OF_2_13, OLDER), (WITHOUT_A_FILTER, OLDER)]
)
def test_the_query_is_the_one_that_this_jaeger_answers(jaeger: dict[str, Answer], path: str) -> None:
    with answering(jaeger.__getitem__) as search:
        found = looked_up(search, expected=2)
    assert (urlsplit(found.query).path, found.found) == (path, 2)
    assert (found.page, found.trace) == (search.page, search.trace)


def test_traces_that_are_still_being_stored_are_waited_for() -> None:
    stored = iter([in_otlp(), in_otlp("v2"), in_otlp("v2", "v2")])
    with answering(lambda path: (200, next(stored)) if path == STABLE else (404, b"")) as search:
        assert looked_up(search, expected=2, patience=60).found == 2


def test_more_than_one_page_of_traces_is_not_waited_for() -> None:
    with answering(lambda path: (200, in_otlp(*["v2"] * 20)) if path == STABLE else (404, b"")) as search:
        assert looked_up(search, expected=900, patience=60).found == 20


@pytest.mark.parametrize("answer", [(404, b""), (200, b"<html>"), (200, {"result": 1}), (200, []), (500, {})])
def test_what_is_no_jaeger_finds_nothing(answer: Answer) -> None:
    with answering(lambda _: answer) as search:
        assert looked_up(search, expected=2, patience=0) == search


@pytest.mark.parametrize("pages", ["http://127.0.0.1:1", "no url", "http://[::1"])
def test_where_nobody_answers_the_search_stays_as_it_is(pages: str) -> None:
    search = search_at(pages)
    assert looked_up(search, expected=2, patience=60) == search


def test_the_search_names_the_demos_own_gray_traces() -> None:
    search = search_at("https://jaeger.example/")
    page, query, older = urlsplit(search.page), urlsplit(search.query), urlsplit(search.older_query)
    assert page.netloc == query.netloc == older.netloc == "jaeger.example"
    for shown in (parse_qs(page.query), parse_qs(older.query)):
        assert json.loads(shown["tags"][0]) == {"gray.version": "v2"}
        assert (shown["service"], shown["start"]) == (["edge"], [str(START // 1000)])
    asked = parse_qs(query.query)
    assert json.loads(asked["query.attributes"][0]) == {"gray.version": "v2"}
    assert asked["query.startTimeMin"] == ["2026-11-18T11:06:40Z"]
    assert asked["query.startTimeMax"] == ["2026-11-18T11:06:42Z"]
    assert (page.path, query.path, older.path) == ("/search", STABLE, OLDER)
    assert urlsplit(search.trace).path == "/trace/abc"


@pytest.mark.parametrize(
    ("endpoint", "pages"),
    [
        ("http://jaeger:4318/v1/traces", "http://jaeger:16686"),
        ("https://[fd00::1]:4318/v1/traces", "http://[fd00::1]:16686"),
        ("http://[::1", None),
    ],
)
def test_its_pages_are_sought_on_the_usual_port_beside_the_endpoint(endpoint: str, pages: str | None) -> None:
    assert pages_beside(Endpoint(endpoint)) == pages
