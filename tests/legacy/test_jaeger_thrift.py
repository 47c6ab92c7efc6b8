"""``graymw[jaeger-legacy]``: the abandoned thrift exporter delivers a gray request's spans.

To receivers of its protocol, and to a real Jaeger. Runs in an environment of its own, which
``tests/legacy/run.sh`` makes; skipped anywhere else.
"""

from __future__ import annotations

import importlib.metadata
import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from real_jaeger import Jaeger, Span, running
from serving import Service, free_port, serving
from waiting import eventually

pytest.importorskip("opentelemetry.exporter.jaeger.thrift.gen.agent", reason="run tests/legacy/run.sh")

from .jaeger_receivers import Received, agent, collector, tags

pytestmark = pytest.mark.legacy

HERE = Path(__file__).parent
GRAY = {"x-gray-version": "true"}
DOCUMENT = {
    "schema": 1,
    "releases": {
        "checkout": {
            "services": ["orders"],
            "stable": "v1",
            "rules": [{"name": "testers", "match": {"header": {"x-gray-version": "true"}}, "use": "v2"}],
        }
    },
}
SERVER_TAGS = {
    "gray.release": "checkout",
    "gray.version": "v2",
    "gray.active": True,
    "gray.context": "checkout=v2",
    "gray.reason": "match",
    "gray.rule": "testers",
    "gray.served_version": "v1",
    "gray.honoured": False,
    "span.kind": "server",
    "http.response.status_code": 200,
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(DOCUMENT))
    return {
        "GRAYMW_RULES": str(rules),
        "GRAYMW_SERVICE": "orders",
        "GRAYMW_VERSION": "v1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }


def run(environ: Mapping[str, str], folder: Path) -> Any:
    port = free_port()
    return serving(["python", "service.py", str(port)], environ, folder, port, cwd=HERE)


def check(received: Received) -> None:
    """Each request has a server span with all its tags, and work within that carries the context."""
    assert received.services == {"orders"}
    spans = {span.operationName: span for span in received.spans}
    server, work = spans["GET"], spans["work"]
    assert tags(server).items() >= SERVER_TAGS.items()
    assert tags(work)["gray.context"] == "checkout=v2"
    assert (work.traceIdLow, work.traceIdHigh) == (server.traceIdLow, server.traceIdHigh)
    assert work.parentSpanId == server.spanId


def ask(service: Service) -> None:
    assert service.ask("/", GRAY) == b"v2"


@pytest.mark.parametrize("name", ["jaeger_thrift", "jaeger"])
def test_to_an_agent_by_udp(name: str, environ: dict[str, str], tmp_path: Path) -> None:
    with agent() as received:
        told = {
            **environ,
            "OTEL_TRACES_EXPORTER": name,
            "OTEL_EXPORTER_JAEGER_AGENT_HOST": "127.0.0.1",
            "OTEL_EXPORTER_JAEGER_AGENT_PORT": received.address,
        }
        with run(told, tmp_path) as service:
            ask(service)
            eventually(lambda: len(received.spans) >= 2)
            assert "Warning" not in service.output
        check(received)


def test_to_a_collector_by_http(environ: dict[str, str], tmp_path: Path) -> None:
    with collector() as received:
        told = {
            **environ,
            "OTEL_TRACES_EXPORTER": "jaeger_thrift",
            "OTEL_EXPORTER_JAEGER_ENDPOINT": received.address,
        }
        with run(told, tmp_path) as service:
            ask(service)
            eventually(lambda: len(received.spans) >= 2)
        check(received)


def test_the_last_spans_are_sent_when_the_process_is_told_to_end(environ: dict[str, str], tmp_path: Path) -> None:
    with collector() as received:
        told = {
            **environ,
            "OTEL_TRACES_EXPORTER": "jaeger_thrift",
            "OTEL_EXPORTER_JAEGER_ENDPOINT": received.address,
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
        }
        with run(told, tmp_path) as service:
            ask(service)
            ask(service)  # its server takes one request after the other: the first has ended
            assert service.terminate() == -signal.SIGTERM
        check(received)


def test_many_spans_at_once_are_split_into_datagrams(environ: dict[str, str], tmp_path: Path) -> None:
    with agent() as received:
        told = {
            **environ,
            "OTEL_TRACES_EXPORTER": "jaeger_thrift",
            "OTEL_EXPORTER_JAEGER_AGENT_PORT": received.address,
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "400",
        }
        with run(told, tmp_path) as service:
            for _ in range(200):
                ask(service)
            eventually(lambda: len(received.spans) >= 400)
            assert "exceeds" not in service.output
        assert len(received.batches) > 1


@pytest.mark.parametrize("status", [500, None], ids=["refuses", "is down"])
def test_a_collector_that_fails_costs_one_line(status: int | None, environ: dict[str, str], tmp_path: Path) -> None:
    with collector(status or 200) as received:
        address = received.address if status else f"http://127.0.0.1:{free_port()}/api/traces"
        told = {**environ, "OTEL_TRACES_EXPORTER": "jaeger_thrift", "OTEL_EXPORTER_JAEGER_ENDPOINT": address}
        with run(told, tmp_path) as service:
            for _ in range(3):
                ask(service)
                eventually(lambda: "spans cannot be sent" in service.output)
            service.terminate()
    lines = [line for line in service.output.splitlines() if "GET /" not in line]
    reason = "HTTP status code: 500" if status else "Connection refused"
    assert len(lines) == 1, service.output
    assert lines[0].startswith(f"spans cannot be sent to {address}, and may be lost until they can: ")
    assert reason in lines[0]


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with running(tmp_path_factory.mktemp("jaeger")) as found:
        yield found


@pytest.mark.parametrize(
    ("setting", "receiver"),
    [("OTEL_EXPORTER_JAEGER_AGENT_PORT", "thrift_udp"), ("OTEL_EXPORTER_JAEGER_ENDPOINT", "thrift_http")],
)
def test_to_a_real_jaeger(setting: str, receiver: str, jaeger: Jaeger, environ: dict[str, str], tmp_path: Path) -> None:
    name = receiver.replace("_", "-")
    rules = Path(environ["GRAYMW_RULES"])
    rules.write_text(rules.read_text().replace("orders", name))
    told = {
        **environ,
        "GRAYMW_SERVICE": name,
        "OTEL_TRACES_EXPORTER": "jaeger_thrift",
        setting: getattr(jaeger, receiver),
    }

    def traces(version: str) -> list[list[Span]]:
        return [trace for trace in jaeger.find(name, {"gray.version": version}).values() if len(trace) >= 2]

    with run(told, tmp_path) as service:
        ask(service)
        assert service.ask("/") == b"v1"
        eventually(lambda: traces("v2") and traces("v1"), 20)
    ((server, work),) = traces("v2")
    assert (server.service, server.kind, work.name, work.parent_id) == (name, "server", "work", server.span_id)
    expected = {key: value for key, value in SERVER_TAGS.items() if key != "span.kind"}
    assert server.attributes.items() >= expected.items()
    assert work.attributes["gray.context"] == "checkout=v2"
    assert [span.attributes["gray.active"] for trace in traces("v1") for span in trace] == [False, False]


def test_the_environment_is_the_one_the_extra_asks_for() -> None:
    assert importlib.metadata.version("opentelemetry-exporter-jaeger-thrift") == "1.21.0"
    major, minor = importlib.metadata.version("opentelemetry-sdk").split(".")[:2]
    assert (int(major), int(minor)) < (1, 40)
