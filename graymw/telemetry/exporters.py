"""Which span exporters the environment asks for, by OpenTelemetry's own variables.

Source: OpenTelemetry specification, "Environment variable specification" and "OTLP exporter configuration". OTLP goes
by HTTP unless told otherwise. What cannot be had is told in one sentence and left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from graymw.settings.redaction import redacted
from graymw.telemetry.signals import GRPC_PORT, HTTP_PORT, TRACES

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

NAMES: Final = "OTEL_TRACES_EXPORTER"
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
        return ("otlp",) if TRACES.endpoint(environ) else ()
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
            TRACES.tell(name, "the span exporter %r cannot be used: %s: %s", name, type(error).__name__, error)
            continue
        if export is not None:
            found.append(export)
    return found


def _console(name: str, _environ: Mapping[str, str]) -> Export:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - heavy, and only where wanted

    return Export(name, "standard output", ConsoleSpanExporter(), at_once=True)


def _otlp(name: str, environ: Mapping[str, str]) -> Export:
    return _otlp_grpc(name, environ) if TRACES.by_grpc(environ) else _otlp_http(name, environ)


def _otlp_http(name: str, environ: Mapping[str, str]) -> Export:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - heavy

    return Export(name, TRACES.http_target(environ), OTLPSpanExporter())


def _otlp_grpc(name: str, environ: Mapping[str, str]) -> Export:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - heavy

    try:
        exporter = TRACES.registered("otlp_proto_grpc")()
    except ImportError:
        endpoint = TRACES.http_twin(environ)
        TRACES.tell_no_grpc(endpoint)
        return Export(name, redacted(endpoint), OTLPSpanExporter(endpoint=endpoint))
    return Export(name, redacted(TRACES.endpoint(environ) or f"http://localhost:{GRPC_PORT}"), exporter)


def _jaeger(name: str, environ: Mapping[str, str]) -> Export | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever asks for it by name knows that it is abandoned
            # A full batch is several times what one datagram takes, and is lost unless it may be split.
            exporter = TRACES.registered("jaeger_thrift")(udp_split_oversized_batches=True)
    except ImportError as error:
        TRACES.tell(
            name,
            "no Jaeger thrift exporter (%s): set OTEL_TRACES_EXPORTER=otlp, which Jaeger takes on port %d, "
            "or `pip install 'graymw[jaeger-legacy]'` into an environment of its own",
            error,
            HTTP_PORT,
        )
        return None
    collector = environ.get("OTEL_EXPORTER_JAEGER_ENDPOINT", "")
    agent = ":".join(environ.get(f"OTEL_EXPORTER_JAEGER_AGENT_{part}", default) for part, default in _JAEGER_AGENT)
    module = type(exporter).__module__
    return Export(name, redacted(collector) or f"udp://{agent}", exporter, loggers=(module, f"{module}.send"))


def _other(name: str, _environ: Mapping[str, str]) -> Export | None:
    if not TRACES.is_registered(name):
        TRACES.tell_unknown(name, set(_MAKERS))
        return None
    return Export(name, name, TRACES.registered(name)())


_MAKERS: Final[Mapping[str, Callable[[str, Mapping[str, str]], Export | None]]] = {
    "console": _console,
    "otlp": _otlp,
    "otlp_proto_http": _otlp_http,
    "otlp_proto_grpc": _otlp_grpc,
    "jaeger": _jaeger,
    "jaeger_thrift": _jaeger,
}
