"""Which span exporters the environment asks for, by OpenTelemetry's own variables.

Source: OpenTelemetry specification, "Environment variable specification" and "OTLP exporter configuration". OTLP goes
by HTTP unless told otherwise. What cannot be had is told in one sentence and left out.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from graymw.runtime import counters
from graymw.settings.redaction import redacted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger("graymw.telemetry")

NAMES: Final = "OTEL_TRACES_EXPORTER"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_DEFAULT_ENDPOINT: Final = "http://localhost:4318"
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_GROUP: Final = "opentelemetry_traces_exporter"
_JAEGER_AGENT: Final = (("HOST", "localhost"), ("PORT", "6831"))


@dataclass(frozen=True, slots=True)
class Export:
    """One way out for spans.

    Attributes:
        name: As ``OTEL_TRACES_EXPORTER`` has it.
        target: Where they go, for people; without credentials.
        at_once: Whether each span is written when it ends rather than in batches.
        loggers: Where the exporter tells of failures; none: by the name of its module.
    """

    name: str
    target: str
    exporter: SpanExporter
    at_once: bool = False
    loggers: tuple[str, ...] = ()


def wanted(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the exporters asked for; none where nothing asks for export."""
    named = environ.get(NAMES, "").strip()
    if not named:
        return ("otlp",) if _first(environ, _ENDPOINTS) else ()
    names = tuple(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))
    return () if "none" in names else names


def made(environ: Mapping[str, str]) -> list[Export]:
    """The exporters asked for, as far as they can be had."""
    found: list[Export] = []
    for name in wanted(environ):
        make = _MAKERS.get(name, _other)
        try:
            export = make(name, environ)
        except Exception as error:  # noqa: BLE001 - a vendor's exporter may fail in any way
            _tell(name, "the span exporter %r cannot be used: %s: %s", name, type(error).__name__, error)
            continue
        if export is not None:
            found.append(export)
    return found


def _console(name: str, _environ: Mapping[str, str]) -> Export:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - heavy, and only where wanted

    return Export(name, "standard output", ConsoleSpanExporter(), at_once=True)


def _otlp(name: str, environ: Mapping[str, str]) -> Export:
    protocol = _first(environ, _PROTOCOLS) or "http/protobuf"
    if protocol == "grpc":
        return _otlp_grpc(name, environ)
    if protocol != "http/protobuf":
        _tell(protocol, "no OTLP exporter speaks %r: spans go by http/protobuf", protocol)
    return _otlp_http(name, environ)


def _otlp_http(name: str, environ: Mapping[str, str], endpoint: str | None = None) -> Export:
    """OTLP/HTTP.

    Args:
        endpoint: Instead of what the environment says.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - heavy

    target = endpoint or _first(environ, _ENDPOINTS) or _DEFAULT_ENDPOINT
    if _port(target) == _GRPC_PORT:
        _tell(
            target,
            "%s is the port of OTLP/gRPC, but spans go by OTLP/HTTP: name port %d, "
            "or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            redacted(target),
            _HTTP_PORT,
        )
    return Export(name, redacted(target), OTLPSpanExporter(endpoint=endpoint))


def _otlp_grpc(name: str, environ: Mapping[str, str]) -> Export:
    try:
        exporter = _registered("otlp_proto_grpc")
    except ImportError:
        endpoint = _http_twin(environ)
        _tell(
            name,
            "OTLP/gRPC needs `pip install opentelemetry-exporter-otlp-proto-grpc`: spans go by OTLP/HTTP to %s instead",
            redacted(endpoint),
        )
        return _otlp_http(name, environ, endpoint)
    return Export(name, redacted(_first(environ, _ENDPOINTS) or f"http://localhost:{_GRPC_PORT}"), exporter)


def _http_twin(environ: Mapping[str, str]) -> str:
    """Where the collector of a gRPC endpoint takes OTLP/HTTP by convention."""
    endpoint = _first(environ, _ENDPOINTS) or _DEFAULT_ENDPOINT
    parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    authority = parts.netloc.removesuffix(f":{_GRPC_PORT}")
    if authority != parts.netloc:
        authority = f"{authority}:{_HTTP_PORT}"
    return f"{parts.scheme}://{authority}{parts.path.rstrip('/').removesuffix('/v1/traces')}/v1/traces"


def _jaeger(name: str, environ: Mapping[str, str]) -> Export | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever asks for it by name knows that it is abandoned
            # A full batch is several times what one datagram takes, and is lost unless it may be split.
            exporter = _registered("jaeger_thrift", udp_split_oversized_batches=True)
    except ImportError as error:
        _tell(
            name,
            "no Jaeger thrift exporter (%s): set OTEL_TRACES_EXPORTER=otlp, which Jaeger takes on port %d, "
            "or `pip install 'graymw[jaeger-legacy]'` into an environment of its own",
            error,
            _HTTP_PORT,
        )
        return None
    collector = environ.get("OTEL_EXPORTER_JAEGER_ENDPOINT", "")
    agent = ":".join(environ.get(f"OTEL_EXPORTER_JAEGER_AGENT_{part}", default) for part, default in _JAEGER_AGENT)
    module = type(exporter).__module__
    return Export(name, redacted(collector) or f"udp://{agent}", exporter, loggers=(module, f"{module}.send"))


def _other(name: str, _environ: Mapping[str, str]) -> Export | None:
    if not entry_points(group=_GROUP, name=name):
        known = sorted({*_MAKERS, *entry_points(group=_GROUP).names})
        _tell(name, "there is no span exporter %r: %s may name %s", name, NAMES, ", ".join(known))
        return None
    return Export(name, name, _registered(name))


def _registered(name: str, **arguments: object) -> SpanExporter:
    """An exporter that some installed distribution registers for OpenTelemetry.

    Raises:
        ImportError: None does, or what it needs is missing.
    """
    for entry in entry_points(group=_GROUP, name=name):
        exporter: SpanExporter = entry.load()(**arguments)
        return exporter
    raise ImportError("it is not installed")


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def _tell(key: str, message: str, *args: object) -> None:
    counters.count("telemetry.exporter")
    counters.once(log, f"exporter:{key}", logging.WARNING, message, *args)


_MAKERS: Final[Mapping[str, Callable[[str, Mapping[str, str]], Export | None]]] = {
    "console": _console,
    "otlp": _otlp,
    "otlp_proto_http": _otlp_http,
    "otlp_proto_grpc": _otlp_grpc,
    "jaeger": _jaeger,
    "jaeger_thrift": _jaeger,
}
