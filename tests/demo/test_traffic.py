from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from graymw.demo.people import User
from graymw.demo.spans import decode
from graymw.demo.traffic import Answer, Client, Hop, root_spans


class Edge(http.server.ThreadingHTTPServer):
    """Answers what the test says, and remembers what it was asked."""

    daemon_threads = True
    answer: Any = None
    status = 200

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), EdgeHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class EdgeHandler(http.server.BaseHTTPRequestHandler):
    server: Edge

    def do_GET(self) -> None:
        self.server.asked.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(self.server.answer).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def edge() -> Iterator[Edge]:
    server = Edge()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def hop(service: str, version: str, pid: int, **more: object) -> dict[str, object]:
    return {"service": service, "version": version, "pid": pid, **more}


FULL = hop("edge", "v1", 1, next=hop("orders", "v2", 2, next=hop("payments", "v2", 3)))


def test_an_answer_tells_every_hop(edge: Edge) -> None:
    edge.answer = FULL
    with Client(edge.url) as client:
        answer = client.ask(User("7", tester=True, region="eu", device="mobile"))
    assert answer.hops == (Hop("edge", "v1", 1), Hop("orders", "v2", 2), Hop("payments", "v2", 3))
    assert answer.is_complete
    assert answer.versions == {"edge": "v1", "orders": "v2", "payments": "v2"}
    sent = edge.asked[0]
    assert (sent["x-user-id"], sent["x-gray-version"], sent["x-region"]) == ("7", "true", "eu")
    assert "iPhone" in sent["user-agent"]
    assert sent["traceparent"] == f"00-{answer.trace_id}-{answer.span_id}-01"
    assert "baggage" not in sent


@pytest.mark.parametrize(
    ("status", "document", "error"),
    [
        (200, hop("edge", "v1", 1, next={"service": "orders", "error": "refused"}), "refused"),
        (200, hop("edge", "v1", 1, next={"oops": 1}), "no answer of the chain"),
        (200, ["oops"], "no answer of the chain"),
        (503, FULL, "503"),
    ],
)
def test_a_broken_chain_is_told(edge: Edge, status: int, document: object, error: str) -> None:
    edge.status, edge.answer = status, document
    with Client(edge.url) as client:
        answer = client.ask(User("7"))
    assert error in answer.error
    assert not answer.is_complete


def test_a_chain_that_ends_early_is_not_complete(edge: Edge) -> None:
    edge.answer = hop("edge", "v1", 1, next=hop("orders", "v2", 2))
    with Client(edge.url) as client:
        answer = client.ask(User("7"))
    assert not answer.error
    assert not answer.is_complete


def test_an_edge_that_is_gone_is_told() -> None:
    with Client("http://127.0.0.1:1") as client:
        assert client.ask(User("7")).error


def test_a_round_sends_what_each_user_has_to_say(edge: Edge) -> None:
    edge.answer = FULL
    counted: list[int] = []
    with Client(edge.url) as client:
        answers = client.round([User("1", requests=3), User("2")], lambda: counted.append(1))
    assert Counter(answer.user.uid for answer in answers) == {"1": 3, "2": 1}
    assert len(counted) == 4
    assert len({answer.trace_id for answer in answers}) == 4


def test_the_proxy_of_the_environment_is_not_asked(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    edge.answer = FULL
    with Client(edge.url) as client:
        assert client.ask(User("7")).is_complete


def test_requests_become_the_roots_of_their_traces() -> None:
    answers = [Answer(User("7"), "ab" * 16, "cd" * 8, start=5, end=9, error=error) for error in ("", "refused")]
    fine, failed = decode(root_spans(answers).SerializeToString())
    assert (fine.trace_id, fine.span_id, fine.parent_id, fine.kind) == ("ab" * 16, "cd" * 8, "", "client")
    assert (fine.start, fine.end, fine.service, fine.attributes["user.id"]) == (5, 9, "demo-client", "7")
    assert (fine.failed, failed.failed) == (False, True)
