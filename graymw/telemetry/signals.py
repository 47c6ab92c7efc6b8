"""How spans and metrics leave, by OpenTelemetry's variables: each signal has its own, and there are common ones.

Source: OpenTelemetry specification, "OTLP exporter configuration". OTLP goes by HTTP unless told otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from graymw.runtime import counters
from graymw.settings.redaction import redacted

log = logging.getLogger("graymw.telemetry")

HTTP: Final = "http/protobuf"
GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318
DEFAULT_ENDPOINT: Final = f"http://localhost:{HTTP_PORT}"


class Signal(NamedTuple):
    """What is exported.

    Attributes:
        things: For people.
    """

    name: Literal["traces", "metrics"]
    things: str
    exporter: str

    @property
    def group(self) -> str:
        """Entry points of its exporters."""
        return f"opentelemetry_{self.name}_exporter"

    def first(self, environ: Mapping[str, str], variable: str) -> str:
        """Value of ``OTEL_EXPORTER_OTLP_…``, this signal's own before the common one; empty where neither is set."""
        own = f"OTEL_EXPORTER_OTLP_{self.name.upper()}_{variable}"
        return environ.get(own, "").strip() or environ.get(f"OTEL_EXPORTER_OTLP_{variable}", "").strip()

    def endpoint(self, environ: Mapping[str, str]) -> str:
        """Where it goes; empty where nothing is said."""
        return self.first(environ, "ENDPOINT")

    def by_grpc(self, environ: Mapping[str, str]) -> bool:
        """Whether it goes by gRPC; a protocol that nobody speaks is told."""
        protocol = self.first(environ, "PROTOCOL") or HTTP
        if protocol not in (HTTP, "grpc"):
            self.tell(protocol, "no OTLP exporter speaks %r: %s go by http/protobuf", protocol, self.things)
        return protocol == "grpc"

    def http_target(self, environ: Mapping[str, str]) -> str:
        """Where it goes by HTTP, for people; a port that speaks gRPC is told."""
        target = self.endpoint(environ) or DEFAULT_ENDPOINT
        if _port(target) == GRPC_PORT:
            self.tell(
                target,
                "%s is the port of OTLP/gRPC, but %s go by OTLP/HTTP: name port %d, "
                "or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
                redacted(target),
                self.things,
                HTTP_PORT,
            )
        return redacted(target)

    def http_twin(self, environ: Mapping[str, str]) -> str:
        """Where the collector of a gRPC endpoint takes OTLP/HTTP by convention."""
        endpoint = self.endpoint(environ) or DEFAULT_ENDPOINT
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        authority = parts.netloc.removesuffix(f":{GRPC_PORT}")
        if authority != parts.netloc:
            authority = f"{authority}:{HTTP_PORT}"
        path = f"/v1/{self.name}"
        return f"{parts.scheme}://{authority}{parts.path.rstrip('/').removesuffix(path)}{path}"

    def tell_no_grpc(self, endpoint: str) -> None:
        """OTLP/gRPC is asked for and not installed."""
        self.tell(
            "grpc",
            "OTLP/gRPC needs `pip install opentelemetry-exporter-otlp-proto-grpc`: %s go by OTLP/HTTP to %s instead",
            self.things,
            redacted(endpoint),
        )

    def registered(self, name: str) -> Any:
        """What makes the exporter that some installed distribution registers for OpenTelemetry.

        Raises:
            ImportError: None does, or what it needs is missing.
        """
        for entry in entry_points(group=self.group, name=name):
            return entry.load()
        raise ImportError("it is not installed")

    def is_registered(self, name: str) -> bool:
        """Whether some installed distribution registers an exporter of that name."""
        return bool(entry_points(group=self.group, name=name))

    def tell_unknown(self, name: str, known: set[str]) -> None:
        """An exporter is asked for that nobody registers."""
        names = ", ".join(sorted(known | entry_points(group=self.group).names))
        variable = f"OTEL_{self.name.upper()}_EXPORTER"
        self.tell(name, "there is no %s %r: %s may name %s", self.exporter, name, variable, names)

    def tell(self, key: str, message: str, *args: object) -> None:
        """Something about exporting is not as it was meant."""
        counters.count("telemetry.exporter")
        counters.once(log, f"{self.name} exporter:{key}", logging.WARNING, message, *args)


TRACES: Final = Signal("traces", "spans", "span exporter")
METRICS: Final = Signal("metrics", "metrics", "metrics exporter")


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None
