"""A line for each decided request: what it says, what it keeps to itself, and that it can be simulated again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling import OUTSIDE, ask_asgi, ask_wsgi, open_websocket
from one_span import GRAY, TRACE, TRACEPARENT
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import graymw
from graymw import bootstrap
from graymw.cli.recorded import recorded_requests
from graymw.errors import SourceError
from graymw.runtime import counters
from graymw.settings.schema import Settings

Ask = Callable[..., Any]

HEADERS = {
    **GRAY,
    "x-user-id": "40",
    "authorization": "Bearer token",
    "x-api-key": "key",
    "cookie": "session=secret",
    "user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.jsonl"


@pytest.fixture
def logging_settings(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    return {**settings, "access_log": str(path)}


@pytest.fixture
def lines(path: Path) -> Callable[[], list[dict[str, Any]]]:
    """What was written; the process is done with graymw then."""

    def read() -> list[dict[str, Any]]:
        bootstrap.shut_down()
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


async def answering(scope: Any, receive: Any, send: Any) -> None:
    scope["path"] = "/changed by the application"
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})


def wsgi(environ: Any, start_response: Any) -> Any:
    environ["PATH_INFO"] = "/changed by the application"
    start_response("201 Created", [])
    return iter([b"a", b"b"])


def asgi_asked(settings: dict[str, Any], headers: dict[str, str], **more: Any) -> None:
    asyncio.run(ask_asgi(graymw.install(answering, settings=settings), "/cart", headers, **more))


def wsgi_asked(settings: dict[str, Any], headers: dict[str, str], **more: Any) -> None:
    ask_wsgi(graymw.install(wsgi, settings=settings), "/cart", headers, **more)


both = pytest.mark.parametrize("ask", [asgi_asked, wsgi_asked], ids=["asgi", "wsgi"])


@both
def test_it_says_who_decided_what_and_how_it_was_answered(
    ask: Ask, logging_settings: dict[str, Any], lines: Ask, spans: InMemorySpanExporter
) -> None:
    ask(logging_settings, {**GRAY, **TRACEPARENT})
    (line,) = lines()
    assert line.pop("duration_ms") >= 0
    assert line.pop("time").endswith("Z")
    assert len(line.pop("revision")) == 8
    assert line == {
        "method": "GET",
        "path": "/cart",
        "status": 201,
        "service": "orders",
        "served_version": "v1",
        "release": "checkout",
        "version": "v2",
        "gray": True,
        "decided_by": "here",
        "reason": "match",
        "rule": "testers",
        "honoured": False,
        "context": "checkout=v2",
        "trace_id": TRACE,
    }


@both
def test_what_a_caller_decided_is_told_apart(ask: Ask, logging_settings: dict[str, Any], lines: Ask) -> None:
    ask(logging_settings, {"baggage": "gray.checkout=v1,gray-rev=0badcafe"})
    (line,) = lines()
    assert (line["decided_by"], line["reason"], line["revision"]) == ("caller", "inherited", "0badcafe")
    assert line["honoured"] is True
    assert "rule" not in line


def test_every_release_is_told_where_there_are_several(
    logging_settings: dict[str, Any], lines: Ask, tmp_path: Path
) -> None:
    rules = tmp_path / "several.yaml"
    rules.write_text(
        "{schema: 1, releases: {checkout: {services: [orders], stable: v1}, search: {services: [find], stable: v7}}}"
    )
    asgi_asked({**logging_settings, "rules": str(rules)}, {"baggage": "gray.search=v8"})
    (line,) = lines()
    assert (line["release"], line["version"], line["context"]) == ("checkout", "v1", "checkout=v1,search=v8")
    assert line["others"] == {
        "search": {"release": "search", "version": "v8", "gray": True, "decided_by": "caller", "reason": "inherited"}
    }


def test_a_request_that_nothing_was_decided_for_has_no_line(lines: Ask, path: Path) -> None:
    asgi_asked({"service": "orders", "access_log": str(path)}, {})
    assert lines() == []


@both
def test_without_the_setting_nobody_observes(ask: Ask, settings: dict[str, Any], lines: Ask) -> None:
    ask(settings, GRAY)
    assert bootstrap.engine_for(Settings.from_mapping(settings)).observers == ()
    assert lines() == []


class TestFailing:
    def test_what_raises_is_told_as_500(self, logging_settings: dict[str, Any], lines: Ask) -> None:
        async def failing(scope: Any, receive: Any, send: Any) -> None:
            raise LookupError("secret of a user")

        def failing_wsgi(environ: Any, start_response: Any) -> Any:
            raise LookupError("secret of a user")

        with pytest.raises(LookupError):
            asyncio.run(ask_asgi(graymw.install(failing, settings=logging_settings), "/", {}))
        with pytest.raises(LookupError):
            ask_wsgi(graymw.install(failing_wsgi, settings=logging_settings), "/", {})
        told = lines()
        assert [(line["status"], line["error"]) for line in told] == [(500, "LookupError")] * 2
        assert "secret" not in json.dumps(told)

    def test_an_answer_that_never_began_has_no_status(self, logging_settings: dict[str, Any], lines: Ask) -> None:
        async def gone(scope: Any, receive: Any, send: Any) -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(ask_asgi(graymw.install(gone, settings=logging_settings), "/", {}))
        (line,) = lines()
        assert "status" not in line
        assert line["error"] == "CancelledError"

    def test_an_observer_that_fails_costs_no_answer(self, settings: dict[str, Any]) -> None:
        def failing(*_: Any) -> Any:
            raise LookupError("when told")

        def failing_later(*_: Any) -> Any:
            return failing

        bootstrap.engine_for(Settings.from_mapping(settings)).observers = (failing, failing_later)
        asgi_asked(settings, {})
        wsgi_asked(settings, {})
        assert counters.snapshot()["observing.error"] == 4


@pytest.mark.parametrize(("accepts", "status"), [(True, 101), (False, 403)])
def test_a_websocket_lasts_until_it_is_closed(
    accepts: bool, status: int, logging_settings: dict[str, Any], lines: Ask
) -> None:
    async def talking(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if accepts:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})
            await receive()
        else:
            await send({"type": "websocket.close"})

    asyncio.run(open_websocket(graymw.install(talking, settings=logging_settings), "/live", GRAY))
    (line,) = lines()
    assert (line["path"], line["status"], line["version"]) == ("/live", status, "v2")


class TestFacts:
    @both
    def test_nothing_of_the_user_is_told_unless_asked_for(
        self, ask: Ask, logging_settings: dict[str, Any], lines: Ask
    ) -> None:
        ask(logging_settings, HEADERS)
        (line,) = lines()
        assert "request" not in line
        assert "40" not in line.values()

    @both
    def test_asked_for_they_are_what_rules_read_and_no_credentials(
        self, ask: Ask, logging_settings: dict[str, Any], lines: Ask
    ) -> None:
        ask({**logging_settings, "access_log_facts": True}, HEADERS, peer=OUTSIDE)
        (line,) = lines()
        assert line["request"] == {
            "method": "GET",
            "path": "/cart",
            "host": "orders",
            "user": "40",
            "device": "mobile",
            "ip": OUTSIDE,
            "headers": {"x-gray-version": "true"},
        }

    @both
    def test_the_file_is_a_file_of_recorded_requests(
        self, ask: Ask, logging_settings: dict[str, Any], lines: Ask, path: Path
    ) -> None:
        ask({**logging_settings, "access_log_facts": True}, HEADERS)
        ask({**logging_settings, "access_log_facts": True}, {"x-user-id": "7"})
        decided = [line["version"] for line in lines()]
        rules = graymw.load_rules(logging_settings["rules"])
        again = [rules.decide(facts).version("checkout") for facts in recorded_requests(str(path), Settings())]
        assert again == decided == ["v2", "v1"]

    def test_a_file_without_facts_says_what_would_have_told_them(
        self, logging_settings: dict[str, Any], lines: Ask, path: Path
    ) -> None:
        asgi_asked(logging_settings, {})
        assert lines()
        with pytest.raises(SourceError, match="GRAYMW_ACCESS_LOG_FACTS=true"):
            list(recorded_requests(str(path), Settings()))
