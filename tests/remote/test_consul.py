"""The rules of blocking queries, against a server that answers as it is told; a real one is in ``tests/servers``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

from graymw.errors import SourceError
from graymw.remote.consul import ConsulClient
from graymw.remote.http import Answer
from graymw.remote.url import parse_backend_url
from graymw.settings.access import Access


class Told(NamedTuple):
    """An answer to give."""

    body: str = "[]"
    index: str | None = "1"
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})


class Asked(NamedTuple):
    path: str
    query: dict[str, str]
    token: str | None


class Scripted:
    """A server that gives one answer after the other."""

    def __init__(self, *answers: Told) -> None:
        self.asked: list[Asked] = []
        self._answers = iter(answers)
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                script.asked.append(Asked(parts.path, query, self.headers.get("x-consul-token")))
                told = next(script._answers)
                self.send_response(told.status)
                if told.index is not None:
                    self.send_header("X-Consul-Index", told.index)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(told.body.encode())

            do_PUT = do_POST = do_GET

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def client(self, access: Access | None = None, *, login: str = "", query: str = "") -> ConsulClient:
        url = f"consul://{login}127.0.0.1:{self.server.server_port}{query}"
        parsed = parse_backend_url(
            url, setting="GRAYMW_REGISTRY", default_port=8500, parameters=("datacenter", "namespace"), example=""
        )
        return ConsulClient(parsed, access or Access(), setting="GRAYMW_REGISTRY")

    def watched(self, count: int, client: ConsulClient | None = None) -> list[Answer]:
        """The first answers that a watch yields."""

        async def run() -> list[Answer]:
            found = []
            async with client or self.client() as used:
                async for answer in used.changes("/v1/kv/k", {}):
                    found.append(answer)
                    if len(found) == count:
                        break
            return found

        return asyncio.run(run())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def scripted() -> Iterator[type[Scripted]]:
    made: list[Scripted] = []

    class Kept(Scripted):
        def __init__(self, *answers: Told) -> None:
            super().__init__(*answers)
            made.append(self)

    yield Kept
    for one in made:
        one.close()


def test_the_first_question_waits_for_nothing_and_wants_all_that_is_written(scripted: type[Scripted]) -> None:
    server = scripted(Told("[1]", "7"))
    (answer,) = server.watched(1)
    assert answer.json() == [1]
    assert server.asked == [Asked("/v1/kv/k", {"consistent": ""}, None)]


def test_the_next_question_waits_behind_the_index_of_the_last_answer(scripted: type[Scripted]) -> None:
    server = scripted(Told(index="7"), Told(index="9"), Told(index="9"))
    server.watched(3)
    assert [asked.query for asked in server.asked[1:]] == [
        {"index": "7", "wait": "55s"},
        {"index": "9", "wait": "55s"},
    ]


def test_where_the_index_falls_the_answer_is_not_believed_and_all_begins_anew(scripted: type[Scripted]) -> None:
    """A server that was restored from a backup, or that has only begun to read its log."""
    server = scripted(Told("[1]", "70"), Told("[]", "3"), Told("[1, 2]", "5"), Told("[3]", "6"))
    assert [answer.json() for answer in server.watched(3)] == [[1], [1, 2], [3]]
    assert [asked.query.get("index") for asked in server.asked] == [None, "70", None, "5"]
    assert "consistent" in server.asked[2].query


def test_an_index_of_nothing_would_not_block_so_the_least_is_used(scripted: type[Scripted]) -> None:
    server = scripted(Told(index="0"), Told(index="1"))
    server.watched(2)
    assert server.asked[1].query["index"] == "1"


def test_a_server_under_change_is_not_asked_in_a_busy_loop(
    scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("graymw.remote.pacing.asyncio.sleep", sleep)
    scripted(*(Told(index=str(index)) for index in range(1, 61))).watched(60)
    assert waits
    assert all(wait > 0 for wait in waits)


def test_a_key_that_is_not_there_is_an_answer_too(scripted: type[Scripted]) -> None:
    assert scripted(Told("", "12", 404)).watched(1)[0].status == 404


@pytest.mark.parametrize("index", [None, "soon"])
def test_an_answer_without_an_index_is_none_of_consuls(scripted: type[Scripted], index: str | None) -> None:
    with pytest.raises(SourceError, match="has no index; check that it is Consul that listens there"):
        scripted(Told("<html>", index)).watched(1)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, r"answers 400 \(why\); check GRAYMW_REGISTRY"),
        (429, r"answers 429 \(why\); it has too much to do; it is tried again"),
        (500, r"answers 500 \(why\); it is tried again"),
        (403, r"refuses a request without a token: why; set GRAYMW_REGISTRY_TOKEN to a token that may do this"),
    ],
)
def test_a_refusal_is_told_in_consuls_words_with_the_mend(scripted: type[Scripted], status: int, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        scripted(Told("why\n", "1", status)).watched(1)


def test_a_token_is_sent_and_never_shown(scripted: type[Scripted], tmp_path: Path) -> None:
    file = tmp_path / "token"
    server = scripted(Told(index="1"), Told(index="2"), Told("no", "1", 403))
    client = server.client(Access(token=str(file)), login=":of-the-url@")

    async def run() -> None:
        async with client:
            changes = client.changes("/v1/kv/k", {})
            for token in ("t0ken-1", "t0ken-2", "t0ken-3"):
                file.write_text(token)
                await anext(changes)

    with pytest.raises(SourceError) as caught:
        asyncio.run(run())
    assert [asked.token for asked in server.asked] == ["t0ken-1", "t0ken-2", "t0ken-3"]
    assert "refuses the token" in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert "of-the-url" not in str(caught.value)


def test_the_password_of_the_url_is_a_token_where_the_settings_have_none(scripted: type[Scripted]) -> None:
    server = scripted(Told())
    server.watched(1, server.client(login=":s%2Fcret@"))
    assert server.asked[0].token == "s/cret"


def test_datacenter_and_namespace_go_along_where_they_count(scripted: type[Scripted]) -> None:
    server = scripted(Told(), Told())
    client = server.client(query="?datacenter=dc2&namespace=team")

    async def run() -> None:
        async with client:
            await client.read("/v1/health/service/a", {"passing": "1"})
            await client.ask("PUT", "/v1/agent/check/pass/a")

    asyncio.run(run())
    assert [asked.query for asked in server.asked] == [{"ns": "team", "dc": "dc2", "passing": "1"}, {"ns": "team"}]


def test_an_empty_answer_that_was_filtered_is_told(scripted: type[Scripted]) -> None:
    """From 1.12 on a header says so; before, only the question what the token may do."""
    filtered = Told(headers={"X-Consul-Results-Filtered-By-ACLs": "true"})
    may_not = Told('[{"Resource": "service", "Access": "read", "Segment": "orders", "Allow": false}]')
    may = Told('[{"Resource": "service", "Access": "read", "Segment": "orders", "Allow": true}]')

    def check(*answers: Told) -> None:
        server = scripted(*answers)

        async def run() -> None:
            async with server.client() as client:
                await client.check_service("orders", await client.read("/v1/health/service/orders", {}))

        asyncio.run(run())

    for answers in ((filtered,), (Told(), may_not)):
        with pytest.raises(SourceError, match="may not read the service orders and its nodes"):
            check(*answers)
    check(Told(), may)
    check(Told(), Told("ACL support disabled", None, 401))
    check(Told(), Told("no such page", None, 404))
    check(Told(), Told('{"Allow": false}', None))
