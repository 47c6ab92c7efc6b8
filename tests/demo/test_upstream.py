from __future__ import annotations

from pathlib import Path

import pytest

from graymw.demo.receiver import Receiver
from graymw.demo.spans import SpanStore
from graymw.demo.upstream import Endpoint, Forwarder, asked_for

from .making import PROTOBUF, request_with


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318"}, "http://jaeger:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318/"}, "http://jaeger:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/x"},
            "http://b/x",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, None),
        ({"OTEL_TRACES_EXPORTER": "console,otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, "http://a/v1/traces"),
    ],
)
def test_the_endpoint_is_the_one_that_the_standard_variables_name(environ: dict[str, str], url: str | None) -> None:
    found = asked_for(environ)
    assert (found and found.url) == url


def test_headers_and_certificates_of_the_traces_go_first() -> None:
    found = asked_for(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://a",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=general",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer%20secret,x-team=red",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
        }
    )
    assert found is not None
    assert found.headers == {"authorization": "Bearer secret", "x-team": "red"}
    assert found.certificate == "/ca.pem"
    assert "secret" not in repr(found)


def test_requests_are_sent_on() -> None:
    theirs = SpanStore()
    with Receiver(theirs) as upstream, Forwarder(Endpoint(f"{upstream.url}/v1/traces")) as forwarder:
        forwarder(request_with(b"a" * 16), PROTOBUF)
        forwarder.settle()
        assert (forwarder.sent, forwarder.failures) == (1, 0)
    assert theirs.trace((b"a" * 16).hex())


def test_an_endpoint_on_this_machine_is_not_asked_for_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Receiver(SpanStore()) as upstream, Forwarder(Endpoint(f"{upstream.url}/v1/traces")) as forwarder:
        forwarder(request_with(b"a" * 16), PROTOBUF)
        forwarder.settle()
        assert (forwarder.sent, forwarder.last_failure) == (1, "")


def test_an_endpoint_that_refuses_is_counted_and_named() -> None:
    with Receiver(SpanStore()) as upstream, Forwarder(Endpoint(f"{upstream.url}/elsewhere")) as forwarder:
        forwarder(request_with(b"a" * 16), PROTOBUF)
        forwarder.settle()
        assert (forwarder.sent, forwarder.failures) == (0, 1)
        assert "404" in forwarder.last_failure


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1/traces", "no url", "http://[::1", "grpc://127.0.0.1:4317"])
def test_an_endpoint_that_cannot_be_reached_breaks_nothing(url: str) -> None:
    with Forwarder(Endpoint(url)) as forwarder:
        forwarder(b"", PROTOBUF)
        forwarder.settle()
        assert (forwarder.sent, forwarder.failures) == (0, 1)
        assert forwarder.last_failure


def test_a_missing_certificate_file_is_an_error_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Forwarder(Endpoint("https://a", certificate=str(tmp_path / "none.pem")))
