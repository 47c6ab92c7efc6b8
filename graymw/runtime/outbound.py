"""The plan of one client call: where it goes, what it carries, and the span that shows it.

Every client adapter asks ``begin`` once per hop (a redirect is a new hop), runs the library's own send under
``attach``/``detach``, and calls ``finish``. Routing is by the decision, carrying is by egress (contract, §5 and §6).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import Token
from types import MappingProxyType
from typing import Final, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from graymw.core.carrying import wire
from graymw.core.carrying.application_baggage import encode_application
from graymw.core.context import SIGNATURE_KEY, UNDECIDED
from graymw.core.instances import Instance
from graymw.errors import GrayUnavailableError
from graymw.runtime import counters, tracing
from graymw.runtime.current import BAGGAGE_KEY, SPAN_KEY, Carried, application_entries, carried_in, default_engine
from graymw.runtime.engine import Engine
from graymw.runtime.lost_context import call_without_context
from graymw.runtime.trace_parent import carrier_headers

log = logging.getLogger("graymw.outbound")

DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
uncarried: Final[list[Callable[[str, str, str], None]]] = []
"""Told method, host and path of each call made where no gray context is; for tests (``graymw.testing``)."""

NO_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType({})


class Outgoing:
    """One planned call. See the module's docstring for its use.

    Attributes:
        instance: Connect there, while ``Host`` and the TLS server name stay as addressed; None: as addressed.
        headers: Lower-case names to set, each replacing what stands there.
        remove: Lower-case names to take out.
        target_version: Version of the instance; None where the call is not routed.
        fallback: Which fallback was taken (``stable`` or ``any``); None for none.
    """

    __slots__ = ("_context", "_span", "fallback", "headers", "instance", "remove", "target_version")

    def __init__(
        self,
        context: Context,
        headers: tuple[tuple[str, str], ...],
        remove: tuple[str, ...],
        *,
        instance: Instance | None,
        fallback: str | None,
        span: Span | None,
    ) -> None:
        self._context = context
        self._span = span
        self.headers = headers
        self.remove = remove
        self.instance = instance
        self.fallback = fallback
        self.target_version = instance.version if instance is not None else None

    @property
    def changes_nothing(self) -> bool:
        """Whether the call goes out as addressed, with the headers it has."""
        return not self.headers and not self.remove and self.instance is None

    def attach(self) -> Token[Context]:
        """Make the call's OpenTelemetry context current: what an instrumentation below us injects is what may leave."""
        return otel_context.attach(self._context)

    def detach(self, token: Token[Context]) -> None:
        """Undo ``attach``."""
        otel_context.detach(token)

    def finish(self, *, status: int | None = None, error: BaseException | None = None) -> None:
        """The call ended. Later calls do nothing.

        Args:
            status: HTTP status code where there was a response.
            error: What the library raised where it raised.
        """
        span, self._span = self._span, None
        if span is None:
            return
        if status is not None:
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                span.set_attribute("error.type", str(status))
                span.set_status(Status(StatusCode.ERROR))
        if error is not None:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end()

    def finish_rpc(self, code: int, name: str, details: str | None = None) -> None:
        """The gRPC call ended; as ``finish``. To a caller every status but OK is an error (semantic conventions).

        Args:
            code: Number of its status.
            name: Of its status, such as ``UNAVAILABLE``.
            details: What its status says in words.
        """
        span, self._span = self._span, None
        if span is None:
            return
        span.set_attribute("rpc.grpc.status_code", code)
        if code != 0:
            span.set_attribute("error.type", name)
            span.set_status(Status(StatusCode.ERROR, details or None))
        span.end()


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


def begin(
    *,
    method: str,
    scheme: str,
    host: str,
    port: int | None,
    path: str = "/",
    baggage: str | None = None,
    instrumented: bool = False,
    rpc: bool = False,
) -> Outgoing | None:
    """Plan one call.

    Args:
        method: HTTP method, or the full name of a gRPC method where ``rpc`` is set.
        host: As addressed, without the port; brackets of an IPv6 address do not matter.
        baggage: What a ``baggage`` header of the request holds already.
        instrumented: An OpenTelemetry instrumentation below makes the CLIENT span.

    Returns:
        None where the call is to be left alone.

    Raises:
        GrayUnavailableError: The release says ``fallback: refuse`` and no instance of the version is there, or the
            call must stay on stable and no stable instance is there.
    """
    ambient = otel_context.get_current()
    carried = carried_in(ambient)
    engine = carried.engine if carried is not None else default_engine()
    if engine is None or not engine.settings.enabled or tracing.is_suppressed(ambient):
        return None
    if carried is None:
        call_without_context(engine, host)
        for tell in uncarried:
            tell(method, host, path)
    call = Call(method, scheme, host, port, path, rpc)
    try:
        return _plan(call, ambient, engine, carried=carried, baggage=baggage, instrumented=instrumented)
    except GrayUnavailableError:
        counters.count("outbound.unavailable")
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the call
        counters.count("outbound.error")
        counters.once(log, f"outbound:{type(error).__name__}", logging.ERROR, "call sent without decisions: %r", error)
        return _sealed(ambient, baggage)


def _sealed(ambient: Context, baggage: str | None) -> Outgoing:
    """A call that nobody could judge: as addressed, and none of our members leaves with it."""
    application = wire.separate((baggage,)).application if baggage else ""
    headers = (("baggage", application),) if application else ()
    remove = ("baggage",) if baggage and not application else ()
    return Outgoing(_without_gray(ambient), headers, remove, instance=None, fallback=None, span=None)


def _plan(
    call: Call,
    ambient: Context,
    engine: Engine,
    *,
    carried: Carried | None,
    baggage: str | None,
    instrumented: bool,
) -> Outgoing:
    gray = carried.gray if carried is not None else UNDECIDED
    snapshot = carried.snapshot if carried is not None else engine.snapshot
    instance, fallback = engine.directory.choose(snapshot.document, call.host, gray)
    if fallback is not None:
        counters.count(f"fallback.{fallback}")
    allowed = instance is not None or snapshot.egress.allows(call.host)
    leaving = carried if gray and allowed else None
    limit = wire.MAX_RPC_BYTES if call.rpc else wire.MAX_BYTES
    value = _baggage_value(engine, ambient, carried, baggage, allowed=allowed, limit=limit)
    context = ambient if carried is None or leaving is not None else _without_gray(ambient)
    context, own_span = _spans(call, context, leaving, instance, fallback, instrumented=instrumented)
    headers = () if instrumented else _trace_headers(context)
    remove: tuple[str, ...] = ()
    if value:
        headers = (("baggage", value), *headers)
    elif baggage is not None:
        remove = ("baggage",)
    if carried is not None and not allowed and not tracing.speaks_w3c_only():
        remove = (*remove, *(f"{prefix}{key}" for prefix in wire.DIALECTS for key, _ in carried.gray.members))
    return Outgoing(context, headers, remove, instance=instance, fallback=fallback, span=own_span)


def _spans(
    call: Call,
    context: Context,
    leaving: Carried | None,
    instance: Instance | None,
    fallback: str | None,
    *,
    instrumented: bool,
) -> tuple[Context, Span | None]:
    """Tag the CLIENT span of the call, whoever makes it; ours only for calls that carry a decision."""
    tracer = tracing.recording_tracer()
    if tracer is None:
        return context, None
    tags = {} if instance is None else {"gray.target_version": instance.version}
    if fallback is not None:
        tags["gray.fallback"] = fallback
    above = trace.get_current_span(context)
    if tracing.is_live(above, SpanKind.CLIENT):
        above.set_attributes(tags)
        return context, None
    if instrumented:
        return (Context({**context, CALL_KEY: tags}) if tags else context), None
    if leaving is None or (not call.rpc and tracing.is_http_span_suppressed(context)):
        return context, None
    attributes = {**leaving.gray.attributes, **tags, **call.attributes(instance)}
    span = tracer.start_span(call.title, context=context, kind=SpanKind.CLIENT, attributes=attributes)
    return trace.set_span_in_context(span, context), span


CALL_KEY: Final = otel_context.create_key("graymw-call")
"""Attributes for the CLIENT span that an instrumentation below us starts within this context."""


def _baggage_value(
    engine: Engine, ambient: Context, carried: Carried | None, present: str | None, *, allowed: bool, limit: int
) -> str:
    """Value of the one ``baggage`` header: gray members first where the host may have them, then the application's.

    Gray members that the application wrote itself count only where the work at hand has no decision of its own.
    """
    entries = ambient.get(BAGGAGE_KEY)
    raw = carried.application if carried is not None else ""
    if carried is not None and entries is carried.baggage and not raw:
        application = ""  # nobody added to what is ours alone
    else:
        application = encode_application(entries, raw) if isinstance(entries, Mapping) and entries else ""
    gray = ""
    if present:
        gray, theirs = wire.separate((present,))
        application = _united(theirs, application)
    if not allowed:
        return wire.compose("", application, limit=limit)
    if carried is not None and carried.gray:
        gray = carried.gray.wire
        if engine.signer is not None:
            gray = f"{gray},{SIGNATURE_KEY}={engine.signer.signature(gray, engine.clock())}"
    return wire.compose(gray, application, limit=limit) if application else gray


def _united(present: str, application: str) -> str:
    """The members of a header that is there already come first; the context adds what it lacks."""
    if not present or not application:
        return present or application
    keys = {member.partition("=")[0].strip() for member in present.split(",")}
    added = [member for member in application.split(",") if member.partition("=")[0].strip() not in keys]
    return ",".join([present, *added])


def _without_gray(ambient: Context) -> Context:
    """The ambient context with the application's baggage only: what may leave towards a foreign host."""
    entries = ambient.get(BAGGAGE_KEY)
    application = application_entries(entries) if isinstance(entries, Mapping) else {}
    return Context({**ambient, BAGGAGE_KEY: application})


def _trace_headers(context: Context) -> tuple[tuple[str, str], ...]:
    if tracing.speaks_w3c_only():
        span = context.get(SPAN_KEY)
        return carrier_headers(span.get_span_context()) if isinstance(span, Span) else ()
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return tuple((name.lower(), value) for name, value in carrier.items() if name.lower() != "baggage")
