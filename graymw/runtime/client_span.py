"""The CLIENT span of a call: ours, or the one of an OpenTelemetry instrumentation, told where the call goes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.trace import Span, SpanKind

from graymw.core.instances import Instance
from graymw.runtime import tracing
from graymw.runtime.current import Carried
from graymw.runtime.retrying import Tries

CALL_KEY: Final = otel_context.create_key("graymw-call")
"""Attributes for the CLIENT span that an instrumentation below us starts within this context."""

DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})


class Call(NamedTuple):
    """A call as it is addressed."""

    method: str
    scheme: str
    host: str
    port: int | None
    path: str
    rpc: bool

    @property
    def title(self) -> str:
        """Span name of low cardinality."""
        return self.method.strip("/") if self.rpc else self.method

    def attributes(self, instance: Instance | None) -> dict[str, str | int]:
        """Of a CLIENT span, by the stable semantic conventions. Queries and user names stay out of it."""
        attributes: dict[str, str | int] = {"server.address": self.host}
        default = DEFAULT_PORTS.get(self.scheme)
        port = self.port or default
        if port is not None:
            attributes["server.port"] = port
        if instance is not None:
            attributes["network.peer.address"] = instance.host
            attributes["network.peer.port"] = instance.port
        if self.rpc:
            service, _, name = self.title.rpartition("/")
            return {**attributes, "rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        authority = self.host if port == default else f"{self.host}:{port}"
        url = f"{self.scheme}://{authority}{self.path.partition('?')[0]}"
        return {**attributes, "http.request.method": self.method, "url.full": url}


def start(
    call: Call,
    context: Context,
    leaving: Carried | None,
    instance: Instance | None,
    fallback: str | None,
    *,
    tries: Tries | None,
    instrumented: bool,
) -> tuple[Context, Span | None]:
    """Tag the CLIENT span of the call, whoever makes it; ours only for calls that carry a decision.

    Args:
        leaving: What the call carries; None where it carries no decision.
        tries: What was tried before; None for a first try.
        instrumented: An OpenTelemetry instrumentation below makes the span.

    Returns:
        The context to send in, and our own span where there is one.
    """
    tracer = tracing.recording_tracer()
    if tracer is None:
        return context, None
    tags = _tags(instance, fallback, tries)
    above = trace.get_current_span(context)
    if tracing.is_live(above, SpanKind.CLIENT):
        above.set_attributes(tags)
        return context, None
    if tries is not None and not call.rpc:
        tags["http.request.resend_count"] = len(tries.tried)
    if instrumented:
        return (Context({**context, CALL_KEY: tags}) if tags else context), None
    if leaving is None or (not call.rpc and tracing.is_http_span_suppressed(context)):
        return context, None
    attributes = {**leaving.gray.attributes, **tags, **call.attributes(instance)}
    span = tracer.start_span(call.title, context=context, kind=SpanKind.CLIENT, attributes=attributes)
    return trace.set_span_in_context(span, context), span


def _tags(instance: Instance | None, fallback: str | None, tries: Tries | None) -> dict[str, str | bool | int]:
    """What any CLIENT span tells of the routing."""
    tags: dict[str, str | bool | int] = {} if instance is None else {"gray.target_version": instance.version}
    if fallback is not None:
        tags["gray.fallback"] = fallback
    if tries is not None:
        tags["gray.retried"] = True
        if tries.ejected:
            tags["gray.ejected"] = True
    return tags
