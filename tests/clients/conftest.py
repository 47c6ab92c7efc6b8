"""An engine that knows the service ``orders`` in two versions, and processes with and without OpenTelemetry."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from graymw.clients import instrumenting
from graymw.core.context import Decision, GrayContext
from graymw.core.document import parse
from graymw.registries.static import StaticRegistry
from graymw.runtime import current, outbound, tracing
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings
from graymw.telemetry.processor import GraySpanProcessor

from .callers import CALLERS, Caller
from .servers import Echo, serving

FOREIGN = "api.example.com"
"""A public name; the tests resolve it to loopback."""

MODES = ("alone", "contrib before", "contrib after")


@pytest.fixture(autouse=True)
def fresh_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracer provider is set, and graymw knows of none."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(tracing, "_known_provider", None)
    monkeypatch.setattr(tracing, "_tracer", None)
    monkeypatch.setattr(tracing, "_callbacks", [])


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The application has set a provider; here is what it records."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(GraySpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=CALLERS, ids=lambda each: each.name)
def caller(request: pytest.FixtureRequest) -> Caller:
    each: Caller = request.param
    return each


@pytest.fixture(params=MODES)
def covered(request: pytest.FixtureRequest, caller: Caller) -> Iterator[str]:
    """graymw covers the clients of the process, alone or together with OpenTelemetry's instrumentation."""
    with covering(request.param, caller.instrumentor()):
        yield request.param


@contextmanager
def covering(mode: str, *instrumentors: Any) -> Iterator[None]:
    if mode == "contrib before":
        _trace(instrumentors)
    instrumenting.instrument()
    if mode == "contrib after":
        _trace(instrumentors)
    try:
        yield
    finally:
        if mode == "contrib after":
            _untrace(instrumentors)
        instrumenting.uninstrument()
        if mode == "contrib before":
            _untrace(instrumentors)


def _trace(instrumentors: tuple[Any, ...]) -> None:
    for each in instrumentors:
        each.instrument(skip_dep_check=True)


def _untrace(instrumentors: tuple[Any, ...]) -> None:
    for each in instrumentors:
        each.uninstrument()


@pytest.fixture
def plain() -> Iterator[None]:
    """graymw covers the clients of the process, nobody else does."""
    with covering("alone"):
        yield


@pytest.fixture
def v1() -> Iterator[Echo]:
    with serving("v1") as echo:
        yield echo


@pytest.fixture
def v2() -> Iterator[Echo]:
    with serving("v2") as echo:
        yield echo


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Iterator[Echo]:
    """A server that is reached by a public name."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return resolve("127.0.0.1" if name == FOREIGN else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with serving("foreign") as echo:
        yield echo


Table = dict[str, list[dict[str, Any]]]


def engine_of(table: Table, *, fallback: str = "stable", **settings: object) -> Engine:
    """Engine of a process that knows some services; the release ``checkout`` governs ``orders``."""
    resolved = Settings.from_mapping({"service": "edge", "services": table, **settings}, environ={})
    engine = Engine(resolved, StaticRegistry(resolved.services))
    release = {"services": ["orders"], "stable": "v1", "fallback": fallback, "rules": []}
    engine.adopt(parse({"schema": 1, "releases": {"checkout": release}}))
    current.set_default_engine(engine)
    return engine


@pytest.fixture
def engine(v1: Echo, v2: Echo) -> Engine:
    return engine_of(
        {
            "orders": [
                {"url": f"http://{v1.authority}", "version": "v1"},
                {"url": f"http://{v2.authority}", "version": "v2"},
            ]
        }
    )


@contextmanager
def carrying(engine: Engine, version: str = "v2", application: str = "") -> Iterator[Carried]:
    """A request is at hand that was decided like this, and came with baggage of the application."""
    decision = Decision("checkout", version, "inherited", None, "9f3c2a11", "v1")
    carried = Carried(engine, GrayContext([decision], revision="9f3c2a11", primary=None), application)
    tokens = current.attach(carried.context, carried)
    try:
        yield carried
    finally:
        current.detach(tokens)


@pytest.fixture
def gray(engine: Engine) -> Iterator[Carried]:
    """A gray request is at hand, with baggage of the application."""
    with carrying(engine, "v2", "userId=7,region=eu") as carried:
        yield carried


GRAY = "gray.checkout=v2,gray-rev=9f3c2a11"
APPLICATION = "userId=7,region=eu"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key in one file, for ``orders`` and nobody else, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=orders", "-addext", "subjectAltName=DNS:orders", "-addext", "basicConstraints=critical,CA:TRUE",
         "-addext", "keyUsage=critical,digitalSignature,keyCertSign", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_text(cert.read_text() + key.read_text())
    return both


@pytest.fixture
def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hosts that calls were planned for."""
    begin = outbound.begin
    hosts: list[str] = []

    def spy(**call: Any) -> Any:
        hosts.append(call["host"])
        return begin(**call)

    monkeypatch.setattr(outbound, "begin", spy)
    return hosts
