"""One configured graymw: the rules in force, what it remembers of requests, what it tells in its log."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import propagate

from graymw.bootstrap import engine_for
from graymw.core.document import parse
from graymw.core.facts import RequestFacts
from graymw.runtime import outbound
from graymw.runtime.current import Carried, attach, detach
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings

Start = Callable[..., Engine]

ORDERS = [{"url": "http://127.0.0.1:8001", "version": "v1"}, {"url": "http://127.0.0.1:8002", "version": "v2"}]


def document(*rules: Mapping[str, Any], **more: Any) -> str:
    return json.dumps({"schema": 1, "releases": {"checkout": {"stable": "v1", "rules": rules, **more}}})


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def started(text: str, **more: object) -> Engine:
        path = tmp_path / "rules.json"
        path.write_text(text)
        return engine_for(Settings.from_mapping({"service": "edge", "rules": str(path), **more}))

    return started


@pytest.mark.parametrize(
    "when",
    [
        "request.headers[user] == 'x'",
        "cookies[user] == 'x'",
        "duration(user) > duration('1s')",
        "timestamp(user) > timestamp('2020-01-01T00:00:00Z')",
        "int(user) > 5",
        "int(request.headers['authorization']) > 5",
        "request.headers[request.headers['authorization']] == 'x'",
    ],
)
def test_a_failing_rule_is_told_without_any_value_of_the_request(
    start: Start, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    caplog.set_level("DEBUG", "graymw")
    engine = start(document({"name": "beta", "when": when, "use": "v2"}))
    engine.snapshot.rules.decide(RequestFacts(user="alice-secret", headers={"authorization": "Bearer secret"}))
    assert "rule beta of release checkout failed" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "text",
    ["gray.checkout=v1,gray.%(number)d;{}", "gray.checkout=v1,gray.r%(number)d=v1,gray.{}=v1"],
    ids=["malformed", "well-formed"],
)
def test_long_texts_of_callers_are_not_kept(start: Start, text: str) -> None:
    engine = start(document())
    padded = text.replace("{}", "z" * 60_000)
    tracemalloc.start()
    try:
        for number in range(100):
            engine.snapshot.inherit(padded % {"number": number})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


def test_work_keeps_the_document_it_began_with(start: Start) -> None:
    began = document({"name": "all", "use": "v2"}, services=["edge", "orders"])
    engine = start(began, services={"orders": ORDERS})
    snapshot = engine.snapshot_for_request()
    carried = Carried(engine, snapshot.rules.decide(RequestFacts()), "", snapshot)
    tokens = attach(carried.context, carried)
    try:
        engine.adopt(parse(document(services=["edge"]), format="json", origin="changed"))
        planned = outbound.begin(method="GET", scheme="http", host="orders", port=None)
    finally:
        detach(tokens)
    assert planned is not None
    assert planned.target_version == "v2"


def test_a_propagator_set_after_the_start_is_heeded(start: Start) -> None:
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.propagators.composite import CompositePropagator

    class Custom(W3CBaggagePropagator):
        @property
        def fields(self) -> set[str]:
            return {"X-Custom-Trace"}

    engine = start(document())
    assert b"x-custom-trace" not in engine.snapshot_for_request().headers.by_bytes
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([before, Custom()]))
    try:
        first = engine.snapshot_for_request()
        assert b"x-custom-trace" in first.headers.by_bytes
        assert engine.snapshot_for_request() is first
    finally:
        propagate.set_global_textmap(before)
    assert b"x-custom-trace" not in engine.snapshot_for_request().headers.by_bytes


def test_a_document_adopted_meanwhile_is_not_lost_to_a_propagator(start: Start) -> None:
    engine = start(document())
    revision = engine.snapshot.rules.revision
    engine.adopt(parse(document({"use": "v2"}), format="json", origin="changed"))
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(type(before)([]))  # type: ignore[call-arg]
    try:
        assert engine.snapshot_for_request().rules.revision not in ("", revision)
    finally:
        propagate.set_global_textmap(before)
