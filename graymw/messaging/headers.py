"""The one algorithm at both ends of a queue: write the decision of the work at hand on a message, restore it from one.

A message has no request to decide by: its consumer inherits what was decided, and decides nothing. Brokers are inside:
what they bring counts unless ``GRAYMW_TRUST`` asks for a signature, or for nobody's word.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from contextvars import Token
from types import TracebackType
from typing import Any, Final, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context.context import Context
from opentelemetry.trace import SpanKind

from graymw.core.carrying import signing, wire
from graymw.core.carrying.application_baggage import encode_application
from graymw.core.context import SIGNATURE_KEY, UNDECIDED, GrayContext
from graymw.runtime import counters, tracing
from graymw.runtime.current import (
    BAGGAGE_KEY,
    CARRIED_KEY,
    SPAN_KEY,
    Carried,
    application_entries,
    attach,
    carried_in,
    default_engine,
    detach,
    merged,
)
from graymw.runtime.engine import Engine
from graymw.runtime.trace_parent import caller_span
from graymw.settings.schema import Settings

log = logging.getLogger("graymw.messaging")

Headers: TypeAlias = Mapping[str, object] | Iterable[tuple[str, object]] | None
"""Headers of a message, as its library gives them: values are text or bytes, those of other types do not count."""

OURS: Final = frozenset({"baggage", SIGNATURE_KEY})
"""Headers that tell the decision.

The signature stands in one of its own as well: an instrumentation of OpenTelemetry that comes after us writes baggage
over ours, of the same members but without it.
"""


def inject(headers: MutableMapping[str, Any]) -> None:
    """Write the decision, the application's baggage and the trace of the work at hand on a message.

    A trace that an instrumentation of OpenTelemetry wrote already stays. Outside any work that carries a decision the
    baggage is left as it is. Never raises.

    Args:
        headers: Of the message to be sent; changed in place. Values written are text.
    """
    try:
        _inject(headers)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the sending
        _contained(error)


def _inject(headers: MutableMapping[str, Any]) -> None:
    ambient = otel_context.get_current()
    carried = carried_in(ambient)
    engine = carried.engine if carried is not None else default_engine()
    if engine is None or not engine.settings.enabled:
        return
    present = fields_of(headers)
    if not present.keys() & tracing.propagation().fields - {"baggage"}:
        carrier: dict[str, str] = {}
        propagate.inject(carrier, ambient)
        headers.update({name: value for name, value in carrier.items() if name.lower() != "baggage"})
    if carried is None:
        return
    application = _application(ambient, carried, present.get("baggage"))
    gray = carried.gray.wire
    signature = engine.signer.signature(gray, engine.clock()) if engine.signer is not None and gray else ""
    value = wire.compose(f"{gray},{SIGNATURE_KEY}={signature}" if signature else gray, application)
    for name in [name for name in headers if name.lower() in OURS]:
        del headers[name]
    if value:
        headers["baggage"] = value
    if signature:
        headers[SIGNATURE_KEY] = signature


def _application(ambient: Context, carried: Carried, present: str | None) -> str:
    """The application's members: those on the message already, or those of the work at hand."""
    if present is not None and (own := wire.separate((present,)).application):
        return own
    entries = ambient.get(BAGGAGE_KEY)
    return encode_application(entries, carried.application) if isinstance(entries, Mapping) else ""


def fields_of(headers: Headers) -> dict[str, str]:
    """Text of a message's headers by lower-case name; of equal names the last."""
    if headers is None:
        return {}
    found: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        if isinstance(value, bytes):
            value = value.decode("latin-1")  # noqa: PLW2901 - as the carriers of HTTP are read
        if isinstance(name, str) and isinstance(value, str):
            found[name.lower()] = value
    return found


def inherited(engine: Engine, fields: Mapping[str, str]) -> Carried:
    """What a message carries, as far as it may be believed.

    Args:
        fields: As ``fields_of`` gives them.
    """
    gray_text, application = wire.separate((fields.get("baggage", ""),))
    gray = UNDECIDED
    snapshot = engine.snapshot
    if gray_text and _is_trusted(engine, snapshot.settings, gray_text, fields.get(SIGNATURE_KEY)):
        gray = snapshot.inherit(gray_text).gray
    return Carried(engine, gray, wire.compose("", application) if application else "", snapshot)


def _is_trusted(engine: Engine, settings: Settings, gray_text: str, signature: str | None) -> bool:
    trust = settings.trust
    if trust == "signed":
        members = wire.read(gray_text)
        if members.signature is None:
            members = members._replace(signature=signature)
        fault = signing.verify(members, engine.clock(), settings.secret)
        reason = f"signature-{fault}" if fault else ""
    else:
        reason = "edge" if trust == "none" else ""
    if reason:
        counters.count(f"baggage.untrusted.{reason}")
    return not reason


class consuming:  # noqa: N801 - used as ``with consuming(headers):``
    """Context manager, plain and asynchronous: the work on one message, with the decision that the message carries.

    Yields the ``GrayContext``; undecided where the message carries none. What the surroundings carry counts for
    nothing. A live CONSUMER span of OpenTelemetry's instrumentation stays current and tells the decision; without one,
    spans made inside are children of the sender's.

    >>> with graymw.messaging.consuming(properties.headers):
    ...     work(body)

    Args:
        headers: Of the message.
    """

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._tokens: tuple[Token[Context], Token[Carried | None]] | None = None

    def __enter__(self) -> GrayContext:
        engine = default_engine()
        if engine is None or not engine.settings.enabled:
            return UNDECIDED
        try:
            return self._enter(engine)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the work
            _contained(error)
            return UNDECIDED

    def _enter(self, engine: Engine) -> GrayContext:
        fields = fields_of(self._headers)
        carried = inherited(engine, fields)
        context = _context(carried, fields)
        span = trace.get_current_span(context)
        if tracing.is_live(span, SpanKind.CONSUMER):
            span.set_attributes(carried.snapshot.server_attributes(carried.gray, engine.settings.version))
        self._tokens = attach(context, carried)
        return carried.gray

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            detach(tokens)

    async def __aenter__(self) -> GrayContext:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def _context(carried: Carried, fields: Mapping[str, str]) -> Context:
    """Within the span that an instrumentation made for this message; else within the sender's."""
    ambient = otel_context.get_current()
    if tracing.is_live(trace.get_current_span(ambient), SpanKind.CONSUMER):
        entries = None if CARRIED_KEY in ambient else ambient.get(BAGGAGE_KEY)
        application = application_entries(entries) if isinstance(entries, Mapping) else {}
        return merged(ambient, carried, {**carried.baggage, **application})
    parent = caller_span(fields)
    return carried.context if parent is None else Context({**carried.context, SPAN_KEY: parent})


def _contained(error: Exception) -> None:
    counters.count("messaging.error")
    counters.once(log, f"messaging:{type(error).__name__}", logging.ERROR, "message left as it was: %r", error)
