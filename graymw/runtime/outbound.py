"""The plan of one client call: where it goes, what it carries, and the span that shows it.

Every client adapter asks ``begin`` once per hop (a redirect is a new hop), runs the library's own send under
``attach``/``detach``, and calls ``finish``, or ``failed`` where it raised: that may give another plan, for another
instance. Routing is by the decision, carrying is by egress (contract, §5 and §6).

An HTTP call is over when the head of its response is there, a gRPC call when it has its status: until then it counts as
under way at its instance.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Final, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.context.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from graymw.core.carrying import wire
from graymw.core.context import UNDECIDED, GrayContext
from graymw.core.instances import Instance
from graymw.errors import GrayUnavailableError
from graymw.runtime import client_span, counters, tracing
from graymw.runtime.baggage_header import baggage_value
from graymw.runtime.client_span import Call
from graymw.runtime.current import BAGGAGE_KEY, SPAN_KEY, Carried, application_entries, carried_in, default_engine
from graymw.runtime.engine import Engine
from graymw.runtime.health import Failure
from graymw.runtime.instance_picking import InstanceDirectory
from graymw.runtime.lost_context import call_without_context
from graymw.runtime.retrying import Attempt, Tries
from graymw.runtime.sticky_key import sticky_key
from graymw.runtime.trace_parent import carrier_headers

log = logging.getLogger("graymw.outbound")

uncarried: Final[list[Callable[[str, str, str], None]]] = []
"""Told method, host and path of each call made where no gray context is; for tests (``graymw.testing``)."""

_Asked: TypeAlias = tuple[Call, Context, Engine, Carried | None, str | None, bool]
"""What a call was planned by: the call, the context around it, who answers, what it carries, its own baggage, and
whether an instrumentation below makes its span."""

_UNAVAILABLE: Final = 14
"""gRPC's status code of that name."""


class Outgoing:
    """One planned call. See the module's docstring for its use.

    Attributes:
        instance: Connect there, while ``Host`` and the TLS server name stay as addressed; None: as addressed.
        headers: Lower-case names to set, each replacing what stands there.
        remove: Lower-case names to take out.
        target_version: Version of the instance; None where the call is not routed.
        fallback: Which fallback was taken (``stable`` or ``any``); None for none.
    """

    __slots__ = (
        "_asked",
        "_attempt",
        "_context",
        "_span",
        "fallback",
        "headers",
        "instance",
        "remove",
        "target_version",
    )

    def __init__(
        self,
        context: Context,
        headers: tuple[tuple[str, str], ...],
        remove: tuple[str, ...],
        *,
        instance: Instance | None,
        fallback: str | None,
        span: Span | None,
        attempt: Attempt | None = None,
        asked: _Asked | None = None,
    ) -> None:
        self._context = context
        self._span = span
        self._attempt = attempt
        self._asked = asked
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

    def go_as_addressed(self) -> None:
        """The call is not sent to its instance after all, so what becomes of it says nothing of that."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.left()
        self.instance = self.target_version = None

    def finish(self, *, status: int | None = None, error: BaseException | None = None) -> None:
        """The call ended. Later calls do nothing.

        Args:
            status: HTTP status code where there was a response.
            error: What the library raised where it raised.
        """
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            if status is None:
                attempt.left()
            else:
                attempt.answered(status)
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

    def failed(self, error: BaseException, failure: Failure | None, *, replayable: bool) -> Outgoing | None:
        """The library raised: this try is over, whatever follows.

        Args:
            error: What it raised.
            failure: How the call failed at its instance; None where that is not what it says.
            replayable: What was to be sent can be sent again.

        Returns:
            Plan of one more try, at another instance; None: raise the error.
        """
        attempt, tries = self._failed(failure)
        self.finish(error=error)
        if attempt is None or failure is None or tries is None:
            return None
        return attempt.again(failure, tries, self._anew, replayable=replayable)

    def failed_rpc(self, code: int, name: str, details: str | None = None, *, replayable: bool) -> Outgoing | None:
        """No connection to the instance of a gRPC call could be made; otherwise as ``finish_rpc`` and ``failed``."""
        attempt, tries = self._failed("refused")
        self.finish_rpc(code, name, details)
        if attempt is None or tries is None:
            return None
        return attempt.again("refused", tries, self._anew, replayable=replayable)

    def _anew(self, tries: Tries) -> Outgoing | None:
        if self._asked is None:
            return None
        call, ambient, engine, carried, baggage, instrumented = self._asked
        return _plan(call, ambient, engine, carried=carried, baggage=baggage, instrumented=instrumented, tries=tries)

    def _failed(self, failure: Failure | None) -> tuple[Attempt | None, Tries | None]:
        attempt, self._attempt = self._attempt, None
        if attempt is None or failure is None:
            if attempt is not None:
                attempt.left()
            return attempt, None
        tries = attempt.failed(failure)
        if tries.ejected and self._span is not None:
            self._span.set_attribute("gray.ejected", True)
        return attempt, tries

    def finish_rpc(self, code: int, name: str, details: str | None = None) -> None:
        """The gRPC call ended; as ``finish``. To a caller every status but OK is an error (semantic conventions).

        Args:
            code: Number of its status.
            name: Of its status, such as ``UNAVAILABLE``.
            details: What its status says in words.
        """
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.answered_rpc(overloaded=code == _UNAVAILABLE)
        span, self._span = self._span, None
        if span is None:
            return
        span.set_attribute("rpc.grpc.status_code", code)
        if code != 0:
            span.set_attribute("error.type", name)
            span.set_status(Status(StatusCode.ERROR, details or None))
        span.end()


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
    tries: Tries | None = None,
) -> Outgoing:
    gray = carried.gray if carried is not None else UNDECIDED
    snapshot = carried.snapshot if carried is not None else engine.snapshot
    document, directory = snapshot.document, engine.directory
    key = sticky_key(document, call.host, carried, ambient) if directory.sticky else None
    port = call.port or client_span.DEFAULT_PORTS.get(call.scheme)
    if tries is None:
        instance, fallback, ticket = directory.choose(document, call.host, gray, key, port=port)
    else:
        instance, fallback, ticket = directory.choose_again(
            document, call.host, gray, key, tries.tried, elsewhere=tries.elsewhere, port=port
        )
    if fallback is not None:
        _note_fallback(directory, call.host, gray, fallback)
    attempt = asked = None
    if instance is not None:
        if tries is None:
            directory.budget.call()
        attempt = Attempt(directory, instance, ticket, method=call.method, before=tries)
        asked = (call, ambient, engine, carried, baggage, instrumented)
    allowed = instance is not None or snapshot.egress.allows(call.host)
    leaving = carried if gray and allowed else None
    limit = wire.MAX_RPC_BYTES if call.rpc else wire.MAX_BYTES
    value = baggage_value(engine, ambient, carried, baggage, allowed=allowed, limit=limit)
    context = ambient if carried is None or leaving is not None else _without_gray(ambient)
    context, own_span = client_span.start(
        call, context, leaving, instance, fallback, tries=tries, instrumented=instrumented
    )
    headers = () if instrumented else _trace_headers(context)
    remove: tuple[str, ...] = ()
    if value:
        headers = (("baggage", value), *headers)
    elif baggage is not None:
        remove = ("baggage",)
    if carried is not None and not allowed and not tracing.speaks_w3c_only():
        remove = (*remove, *(f"{prefix}{key}" for prefix in wire.DIALECTS for key, _ in carried.gray.members))
    return Outgoing(
        context, headers, remove, instance=instance, fallback=fallback, span=own_span, attempt=attempt, asked=asked
    )


def _note_fallback(directory: InstanceDirectory, service: str, gray: GrayContext, fallback: str) -> None:
    counters.count(f"fallback.{fallback}")
    if directory.first_time(f"fallback:{service}:{gray.wire}:{fallback}"):
        told = "no instance of %s for %s can take calls, they go to %s; further ones are only counted"
        log.warning(told, service, gray.wire, fallback)


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
