"""The HTTP source against a server that says what a test wants; ``tests/servers/test_nginx.py`` has a real one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from graymw.errors import MissingExtraError, SettingsError, SourceError
from graymw.runtime.ports import Fetched
from graymw.settings.access import Access
from graymw.settings.schema import Settings
from graymw.sources import http, source_for
from graymw.sources.http import HttpSource

DEADLINE = 5.0
NOW = 1_763_800_000.0


class Server:
    """Answers each request with what stands in its fields, and remembers what was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b"a"
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
                self.send_response_only(outer.status)
                body = b"" if outer.status == 304 else outer.body
                for name, value in {"Content-Length": str(len(body)), **outer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/rules"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def load(self, access: Access | None = None, suffix: str = "") -> Fetched:
        return asyncio.run(HttpSource(self.url + suffix, access or Access()).load())

    def asks(self, count: int, suffix: str = "") -> list[dict[str, str]]:
        """The first requests of one watch."""

        async def run() -> None:
            changes = HttpSource(self.url + suffix, Access(), poll=0.0).watch()
            await anext(changes)
            more = asyncio.ensure_future(anext(changes))
            async with asyncio.timeout(DEADLINE):
                while len(self.asked) < count:
                    await asyncio.wait([more], timeout=0.01)
            more.cancel()
            await asyncio.wait([more])
            await changes.aclose()

        asyncio.run(run())
        return self.asked[:count]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_it_loads_what_is_there(server: Server) -> None:
    fetched = server.load()
    assert (fetched.text, fetched.origin, fetched.format) == (b"a", server.url, None)


@pytest.mark.parametrize(
    ("suffix", "content_type", "expected"),
    [
        (".yaml", "application/json", "yaml"),
        (".toml?ref=main", "", "toml"),
        ("", "application/json; charset=utf-8", "json"),
        ("", "application/vnd.config+json", "json"),
        ("", "text/x-yaml", "yaml"),
        ("", "application/toml", "toml"),
        ("", "text/plain", None),
    ],
)
def test_path_or_server_tell_the_format(server: Server, suffix: str, content_type: str, expected: str | None) -> None:
    server.headers["Content-Type"] = content_type
    assert server.load(suffix=suffix).format == expected
    assert server.asked[0]["path"] == f"/rules{suffix}"


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_holds_no_document(server: Server, status: int) -> None:
    server.status = status
    assert server.load().text is None


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "check GRAYMW_RULES_TOKEN, or GRAYMW_RULES_USER and GRAYMW_RULES_PASSWORD"),
        (403, "check GRAYMW_RULES_TOKEN, or GRAYMW_RULES_USER and GRAYMW_RULES_PASSWORD"),
        (302, r"leads to http://\*\*\*@h/other \(status 302\); write that into GRAYMW_RULES"),
        (304, "leads to"),
        (500, r"answers with status 500 \(a\); check the server"),
        (204, "answers with status 204"),
    ],
)
def test_what_else_a_server_may_answer_is_an_error_in_words(server: Server, status: int, told: str) -> None:
    server.status, server.headers = status, {"Location": "http://u:p@h/other"} if status == 302 else {}
    with pytest.raises(SourceError, match=told):
        server.load()


def test_a_page_that_can_be_no_document_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 3)
    server.body = b"long"
    with pytest.raises(SourceError, match="4 bytes, of at most 3; name the rule document itself"):
        server.load()


def test_login(server: Server, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("from-file\n")
    for access in (Access(), Access(user="u", password="pä"), Access(token="t", user="u"), Access(token=str(token))):
        server.load(access)
    said = [asked.get("authorization") for asked in server.asked]
    assert said == [None, "Basic dTpww6Q=", "Bearer t", "Bearer from-file"]


def test_a_login_of_the_url_counts_and_is_not_shown(server: Server) -> None:
    source = HttpSource(server.url.replace("//", "//u:p%C3%A4@") + "?token=s3cret", Access())
    asyncio.run(source.load())
    assert server.asked[0]["authorization"] == "Basic dTpww6Q="
    assert source.name.endswith("/rules?token=***")
    assert "@127" in source.name
    assert "u:p" not in source.name


def test_the_tag_of_the_document_is_sent_back(server: Server) -> None:
    server.headers["ETag"] = 'W/"1"'
    first, second = server.asks(2)
    assert "if-none-match" not in first
    assert second["if-none-match"] == 'W/"1"'
    assert "if-modified-since" not in second


def test_the_time_of_the_document_is_sent_back_where_it_has_no_tag(server: Server) -> None:
    then = formatdate(NOW - 60, usegmt=True)
    server.headers |= {"Last-Modified": then, "Date": formatdate(NOW, usegmt=True)}
    assert server.asks(2)[1]["if-modified-since"] == then


@pytest.mark.parametrize("date", [formatdate(NOW + 1, usegmt=True), "", "yesterday"])
def test_a_mark_that_may_stand_for_two_contents_is_not_relied_on(server: Server, date: str) -> None:
    """Times have whole seconds, and nginx makes its ETag of the time and the size."""
    server.headers |= {"ETag": '"1"', "Last-Modified": formatdate(NOW, usegmt=True), "Date": date}
    second = server.asks(2)[1]
    assert not {"if-none-match", "if-modified-since"} & second.keys()


def test_nothing_changed_is_no_change(server: Server) -> None:
    async def run() -> None:
        server.headers["ETag"] = '"1"'
        changes = HttpSource(server.url, Access(), poll=0.0).watch()
        assert (await anext(changes)).text == b"a"
        server.status = 304
        more = asyncio.ensure_future(anext(changes))
        while len(server.asked) < 4:
            await asyncio.wait([more], timeout=0.01)
        server.status, server.body = 200, b"b"
        assert (await asyncio.wait_for(more, DEADLINE)).text == b"b"
        await changes.aclose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("control", "suffix", "expected"),
    [
        ({}, "", 1.0),
        ({"Cache-Control": "max-age=0, must-revalidate"}, "", 1.0),
        ({"Cache-Control": "public, max-age=20"}, "", 20.0),
        ({"Cache-Control": "max-age=20", "Age": "15"}, "", 5.0),
        ({"Cache-Control": "max-age=20", "Age": "30"}, "", 1.0),
        ({"Cache-Control": "s-maxage=20"}, "", 1.0),
        ({"Cache-Control": "no-cache, max-age=20"}, "", 1.0),
        ({"Cache-Control": "max-age=31536000"}, "", 60.0),
        ({"Cache-Control": "max-age=20"}, "#every=5", 5.0),
        ({}, "#every=2m", 120.0),
    ],
)
def test_how_long_it_waits(
    server: Server, control: dict[str, str], suffix: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http.random, "uniform", lambda low, high: (low, high)[1])  # type: ignore[attr-defined]
    server.headers |= control
    source = HttpSource(server.url + suffix, Access())

    async def run() -> float:
        client = http.HttpClient([source._origin], Access(), backend="http")
        page = await source._page(client, None)
        await client.close()
        return source._pause(page)

    assert asyncio.run(run()) == expected
    assert server.asked[0].get("cache-control") == ("no-cache" if suffix else None)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://", "it is no URL of a document; write it like https://config.example.com/rules.yaml"),
        ("http://h:0/", "it is no URL of a document"),
        ("http://h:99999/", "it is no URL of a document"),
        ("https://[::1/", "it is no URL of a document"),
        ("https://h/r#evry=5", "#evry=5 means nothing here; write #every=5s, or leave it out"),
        ("https://h/r#every=0", "means nothing here"),
    ],
)
def test_what_is_no_url_is_refused_with_the_mend(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        HttpSource(url, Access())
    (problem,) = refused.value.problems
    assert problem.path == "GRAYMW_RULES"
    assert told in f"{problem.message}; {problem.mend}"


@pytest.mark.parametrize("url", ["http://h/r", "https://h/r", "HTTPS://h/r"])
def test_rules_name_it(url: str) -> None:
    assert isinstance(source_for(Settings(rules=url)), HttpSource)


def test_a_missing_library_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graymw.remote.http.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"httpx is not installed: pip install 'graymw\[http\]'$"):
        HttpSource("http://h/r", Access())
    with pytest.raises(SettingsError, match=r"GRAYMW_RULES: httpx is not installed; pip install 'graymw\[http\]'"):
        source_for(Settings(rules="http://h/r"))
