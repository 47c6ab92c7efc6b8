"""The one algorithm at the door of every server: read our own header, trust it or not, decide what is left, carry.

ASGI, WSGI and gRPC adapters give the request's facts and put back what they are told.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.trace import Span, SpanKind

from graymw.core.carrying import signing, wire
from graymw.core.context import GrayContext
from graymw.runtime import counters, settling, tracing
from graymw.runtime.current import BAGGAGE_KEY, CARRIED_KEY, REQUEST, SPAN_KEY, Carried, application_entries, merged
from graymw.runtime.engine import CACHE_LIMIT, Engine, Snapshot
from graymw.runtime.live_facts import LiveFacts
from graymw.runtime.trace_parent import caller_span
from graymw.settings.schema import Settings

log = logging.getLogger("graymw.admission")


class Admitted(NamedTuple):
    """A request that was let in.

    Attributes:
        context: OpenTelemetry context for the request's work.
        uncalled: The same without the caller's span: OpenTelemetry's instrumentations make a SERVER span only where no
            span is current, so this is for those inside of us.
        baggage: Value of the one ``baggage`` header the application may see; None: it may see none.
        unchanged: The request's own headers are right as they are.
        misdirected: The caller meant another version than this process is, and ``GRAYMW_STRICT`` says to refuse that.
        server_span: The SERVER span of an instrumentation outside of us, live or dropped by its sampler; None where
            there is none.
    """

    snapshot: Snapshot
    carried: Carried
    context: Context
    uncalled: Context
    server_span: Span | None
    baggage: str | None
    unchanged: bool
    misdirected: bool

    @property
    def gray(self) -> GrayContext:
        """The decisions."""
        return self.carried.gray


def admit(engine: Engine, snapshot: Snapshot, facts: LiveFacts) -> Admitted:
    """Decide and inherit for one request, by its own headers alone; ambient baggage is never read as input.

    Args:
        facts: ``facts.headers`` holds at least the carriers (``baggage``, ``traceparent``, ``tracestate``) and what
            the rules read.
    """
    fields = facts.headers
    inbound = fields.get("baggage")
    gray_text = application = ""
    if inbound:
        gray_text, application = wire.separate((inbound,))
        if application:
            application = wire.compose("", application)
    gray = _decide(engine, snapshot, facts, gray_text)
    if application:
        carried = Carried(engine, gray, application, snapshot)
        outbound = wire.compose(gray.wire, application)
    else:
        carried = snapshot.carried.get(gray) or _remembered(engine, snapshot, gray)
        outbound = gray.wire
    if engine.directory.sticky:
        carried = carried if application else Carried(engine, gray, "", snapshot)
        carried.facts = facts
    context, uncalled, server_span = _contexts(carried, fields)
    if server_span is not None and server_span.is_recording():
        server_span.set_attributes(snapshot.server_attributes(gray, engine.settings.version))
        tracing.notice(server_span)
        settling.decided(server_span, gray)
    unchanged = (inbound or "") == outbound
    misrouted = gray_text != "" and snapshot.is_misrouted(gray, engine.settings.version)
    if misrouted:
        counters.count("misrouted")
    return Admitted(  # positional: every request comes by
        snapshot,
        carried,
        context,
        uncalled,
        server_span,
        outbound or None,
        unchanged,
        misrouted and snapshot.settings.strict,
    )


def _decide(engine: Engine, snapshot: Snapshot, facts: LiveFacts, gray_text: str) -> GrayContext:
    known: GrayContext | None = None
    if gray_text and _is_trusted(engine, snapshot.settings, facts, gray_text):
        inherited = snapshot.inherit(gray_text)
        known = inherited.gray
        if inherited.complete:
            return known
    facts.identify(snapshot.headers.identity)
    return snapshot.rules.decide(facts, known)


def _is_trusted(engine: Engine, settings: Settings, facts: LiveFacts, gray_text: str) -> bool:
    trust = settings.trust
    if trust == "private":
        trusted = facts.is_inside()
        reason = "outside"
    elif trust == "signed":
        fault = signing.verify(wire.read(gray_text), engine.clock(), settings.secret)
        trusted = fault is None
        reason = f"signature-{fault}"
    else:
        trusted = trust == "all"
        reason = "edge"
    if not trusted:
        counters.count(f"baggage.untrusted.{reason}")
    return trusted


def _remembered(engine: Engine, snapshot: Snapshot, gray: GrayContext) -> Carried:
    """Requests with the same decisions and no baggage of the application share what they carry."""
    carried = Carried(engine, gray, "", snapshot)
    if len(snapshot.carried) >= CACHE_LIMIT:
        snapshot.carried.clear()
    snapshot.carried[gray] = carried
    return carried


def _contexts(carried: Carried, fields: Mapping[str, str]) -> tuple[Context, Context, Span | None]:
    """Contexts with and without the caller's span, and the SERVER span of an instrumentation outside of us."""
    ambient = otel_context.get_current()
    if ambient:
        span = trace.get_current_span(ambient)
        if CARRIED_KEY not in ambient and (REQUEST.get() is None or _is_of_this_request(span, fields)):
            context = _within(ambient, carried, span)
            around = tracing.is_live(span, SpanKind.SERVER) or tracing.is_dropped(span)
            return context, context, span if around else None
        # Something of ours is there already, so it is another request's: uvicorn starts the next keep-alive request in
        # the previous one's context (python/cpython#140947), and a call inside the process starts in its caller's.
        # Instrumentations inside of us put contexts of their own in the place of ours; the request stays beside them.
        if tracing.is_inner_server_span(span):
            span.set_attributes(carried.gray.attributes)  # it was tagged by that other request when it started
    parent = caller_span(fields)
    context = carried.context if parent is None else Context({**carried.context, SPAN_KEY: parent})
    return context, carried.context, None


def _is_of_this_request(span: Span, fields: Mapping[str, str]) -> bool:
    """Whether a live SERVER span is a child of this request's caller, not of the one whose context we are in."""
    if not tracing.is_live(span, SpanKind.SERVER):
        return False
    parent = getattr(span, "parent", None)
    caller = caller_span(fields)
    told = None if caller is None else caller.get_span_context()
    return (parent and parent.span_id) == (told and told.span_id)


def _within(ambient: Context, carried: Carried, span: Span) -> Context:
    """A context that an instrumentation outside of us made for this request, its baggage cleaned and ours in front.

    A server instrumentation that found a span current was in somebody else's context, usually that of a response which
    was closed before it was iterated: its baggage does not count.
    """
    entries = None if tracing.is_inner_server_span(span) else ambient.get(BAGGAGE_KEY)
    application = application_entries(entries) if isinstance(entries, Mapping) else {}
    if not application:
        return merged(ambient, carried, carried.baggage)
    return merged(ambient, carried, {**dict(carried.gray.members), **application})
