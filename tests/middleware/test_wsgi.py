"""GrayWSGIApp, through ``graymw.install`` around bare WSGI callables; every call is watched by ``wsgiref.validate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry import context as otel_context

import graymw
from graymw.runtime import counters

Seen = list[graymw.GrayContext]


def environ_of(headers: dict[str, str], **more: Any) -> dict[str, Any]:
    environ: dict[str, Any] = {"REMOTE_ADDR": "127.0.0.1", "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    environ.update({"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()})
    environ.update(more)
    return environ


def ask(app: Any, headers: dict[str, str] | None = None, **more: Any) -> tuple[str, dict[str, str], bytes]:
    """One request as a server makes it: iterate, then close."""
    answer: list[Any] = []
    body = app(environ_of(headers or {}, **more), lambda *args: answer.append(args))
    try:
        content = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return answer[0][0], dict(answer[0][1]), content


def plain(seen: Seen, environs: list[dict[str, Any]]) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(graymw.current())
        environs.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    return app


@pytest.fixture
def seen() -> Seen:
    return []


@pytest.fixture
def environs() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def app(seen: Seen, environs: list[dict[str, Any]], settings: dict[str, object]) -> Any:
    return validator(graymw.install(validator(plain(seen, environs)), settings=settings))


def test_the_first_hop_decides_and_the_application_sees_one_clean_header(
    app: Any, seen: Seen, environs: list[dict[str, Any]]
) -> None:
    ask(app, {"x-gray-version": "true", "baggage": "k=v;p=1"})
    assert seen[0].version("checkout") == "v2"
    assert environs[0]["HTTP_BAGGAGE"].startswith("gray.checkout=v2,gray-rev=")
    assert environs[0]["HTTP_BAGGAGE"].endswith(",k=v;p=1")


@pytest.mark.parametrize("user", ["münchen", "用户7"])
def test_a_bucket_is_that_of_the_bytes_on_the_wire(seen: Seen, user: str) -> None:
    app = graymw.install(plain(seen, []), settings={"gray_ratio": "50%", "service": "orders"})
    ask(app, {"x-user-id": user.encode().decode("latin-1")})
    assert seen[0].is_gray() == (graymw.bucket("default", user) < 5_000)


def test_a_later_hop_inherits(app: Any, seen: Seen) -> None:
    ask(app, {"baggage": "gray.checkout=v2,gray-rev=00000001"})
    assert seen[0].decisions["checkout"].reason == "inherited"


@pytest.mark.parametrize("peer", ["203.0.113.9", "nonsense"])
def test_what_comes_from_outside_does_not_count(app: Any, seen: Seen, peer: str) -> None:
    ask(app, {"baggage": "gray.checkout=evil"}, REMOTE_ADDR=peer)
    assert seen[0].version("checkout") == "v1"


def test_a_server_that_tells_no_peer_counts_as_outside_and_a_unix_socket_as_inside(
    seen: Seen, environs: list[dict[str, Any]], settings: dict[str, object]
) -> None:
    app = graymw.install(plain(seen, environs), settings=settings)
    environ = environ_of({"baggage": "gray.checkout=v7"})
    del environ["REMOTE_ADDR"]
    app(environ, lambda *_: None)
    app(environ_of({"baggage": "gray.checkout=v7"}, REMOTE_ADDR=""), lambda *_: None)
    app(environ_of({"baggage": "gray.checkout=v7"}, REMOTE_ADDR="localhost"), lambda *_: None)  # waitress's word
    assert [context.version("checkout") for context in seen] == ["v1", "v7", "v7"]


def test_a_streamed_body_sees_its_own_context_in_every_chunk_and_in_close(settings: dict[str, object]) -> None:
    chunks: list[str | None] = []

    class Body:
        def __init__(self) -> None:
            self.left = 3

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            if not self.left:
                raise StopIteration
            self.left -= 1
            chunks.append(graymw.current().version())
            return b"x"

        def close(self) -> None:
            chunks.append(f"close {graymw.current().version()}")

    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body()

    streaming = validator(graymw.install(app, settings=settings))
    assert ask(streaming, {"x-gray-version": "true"})[2] == b"xxx"
    assert chunks == ["v2", "v2", "v2", "close v2"]
    assert not graymw.current()


def test_two_streams_of_one_thread_taken_in_turns_do_not_mix(settings: dict[str, object]) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        for _ in range(3):
            yield str(graymw.current().version()).encode()

    installed = graymw.install(app, settings=settings)
    gray = iter(installed(environ_of({"x-gray-version": "true"}), lambda *_: None))
    stable = iter(installed(environ_of({}), lambda *_: None))
    assert [(next(gray), next(stable)) for _ in range(3)] == [(b"v2", b"v1")] * 3


def test_a_response_closed_before_it_is_iterated_leaves_nothing_on_the_thread(settings: dict[str, object]) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        otel_context.attach(baggage.set_baggage("left", "behind"))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"never read"])

    body = graymw.install(app, settings=settings)(environ_of({"x-gray-version": "true"}), lambda *_: None)
    body.close()
    assert not graymw.current()
    assert not baggage.get_all()


def test_an_application_that_fails_leaves_nothing_and_its_error_passes(settings: dict[str, object]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise LookupError("theirs")

    with pytest.raises(LookupError, match="theirs"):
        graymw.install(app, settings=settings)(environ_of({}), lambda *_: None)
    assert not graymw.current()


def test_the_servers_own_file_wrapper_stays_recognisable(settings: dict[str, object]) -> None:
    class FileWrapper:
        def __init__(self, file: object) -> None:
            self.file = file

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"file"])

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](None)

    environ = environ_of({}, **{"wsgi.file_wrapper": FileWrapper})
    assert isinstance(graymw.install(app, settings=settings)(environ, lambda *_: None), FileWrapper)


def test_interleaved_requests_in_threads_mix_up_nothing(settings: dict[str, object]) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield str(graymw.current().version()).encode()
        yield str(graymw.current().version()).encode()

    installed = graymw.install(app, settings=settings)

    def one(uid: int) -> bool:
        expected = b"v2" if uid % 10 == 0 else b"v1"
        return ask(installed, {"x-user-id": str(uid)})[2] == expected * 2

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(10_000)))


def test_a_sticky_cookie_is_issued_where_a_split_has_no_key() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(graymw.current().version()).encode()]

    installed = validator(graymw.install(app, settings={"gray_ratio": "50%", "service": "orders"}))
    _, headers, version = ask(installed)
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert {ask(installed, {"cookie": cookie})[2] for _ in range(5)} == {version}


def test_what_the_application_gives_with_its_status_goes_on_by_name_as_well() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")], exc_info=None)
        return [b"ok"]

    answered: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        answered.append((status, dict(headers), exc_info))

    graymw.install(app, settings={"gray_ratio": "50%", "service": "orders"})(environ_of({}), start_response)
    ((status, headers, exc_info),) = answered
    assert (status, exc_info) == ("200 OK", None)
    assert "Set-Cookie" in headers


def test_a_call_nobody_may_take_answers_503(tmp_path: Any) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("schema: 1\nreleases: {checkout: {stable: v1, fallback: refuse, rules: [{use: v2}]}}\n")

    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise graymw.GrayUnavailableError("payments", "v2", "checkout")

    status, _, body = ask(validator(graymw.install(app, settings={"rules": str(rules), "service": "orders"})))
    assert status.startswith("503")
    assert b"payments" in body


def test_strictly_a_request_meant_for_another_version_is_refused_with_421(
    seen: Seen, environs: list[dict[str, Any]], settings: dict[str, object]
) -> None:
    app = validator(graymw.install(plain(seen, environs), settings={**settings, "strict": "true"}))
    status, _, body = ask(app, {"baggage": "gray.checkout=v2,gray-rev=00000001"})
    assert status == "421 Misdirected Request"
    assert b'"decided": "v2"' in body
    assert seen == []


latin = st.text(st.characters(max_codepoint=255), max_size=120)


@given(value=latin, cookie=latin, query=latin, user=latin, path=latin, peer=latin)
@hypothesis_settings(max_examples=200, deadline=None)
def test_no_text_in_an_environ_ever_raises(
    value: str, cookie: str, query: str, user: str, path: str, peer: str
) -> None:
    seen: Seen = []
    rules = {"service": "orders", "gray_when": "uid % 2 == 0 || user.startsWith('a')", "gray_ratio": "50%"}
    app = graymw.install(plain(seen, []), settings=rules)
    headers = {"baggage": value, "cookie": cookie, "x-user-id": user, "forwarded": cookie, "traceparent": value}
    assert ask(app, headers, QUERY_STRING=query, PATH_INFO=path, REMOTE_ADDR=peer)[0] == "200 OK"
    assert "middleware.error" not in counters.snapshot()
    assert seen[0].version() in ("v1", "v2")
