"""One gRPC call as it is served: admitted, shown to the application, and finished.

Its code runs in a ``contextvars`` context of its own, so nothing stays on the thread or task when the call is over.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import grpc
from grpc import aio
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from graymw.core.carrying import wire
from graymw.errors import GrayUnavailableError
from graymw.runtime import counters, tracing
from graymw.runtime.admission import Admitted, admit
from graymw.runtime.current import attach
from graymw.runtime.engine import Engine
from graymw.runtime.live_facts import LiveFacts, united
from graymw.runtime.observing import Observation, observe
from graymw.settings.schema import Settings

log = logging.getLogger("graymw.grpc")

_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Of the server rather than the caller: semantic conventions for RPC, span status."""

_GONE: Final = (asyncio.CancelledError, GeneratorExit)
"""How a handler learns that nobody waits for its answer any more."""

_SERVED: Final[ContextVar[Any]] = ContextVar("graymw_grpc_served", default=None)
"""The servicer context of the call that was admitted, so that a second interceptor lets it pass."""


class RpcFacts(LiveFacts):
    """Facts of one call. Its method is the path, its metadata are the headers; there is no query and no host."""

    __slots__ = ("_method", "_peer")

    def __init__(self, fields: dict[str, str], settings: Settings, method: str, peer: str | None) -> None:
        super().__init__(fields, settings)
        self._method = method
        self._peer = peer

    def raw_method(self) -> str:
        """HTTP method of every call (gRPC over HTTP/2, requests)."""
        return "POST"

    def raw_path(self) -> str:
        """Full name of the method, such as ``/package.Service/Method``."""
        return self._method

    def raw_query(self) -> str:
        """None."""
        return ""

    def peer(self) -> str | None:
        """Address of the socket's peer; None for a Unix socket."""
        return self._peer


class _Metadatum(NamedTuple):
    key: str
    value: str | bytes


class _Servicer:
    """A servicer context that shows the metadata which the application may see."""

    __slots__ = ("_metadata", "_servicer")

    def __init__(self, servicer: Any, metadata: tuple[Any, ...]) -> None:
        object.__setattr__(self, "_servicer", servicer)
        object.__setattr__(self, "_metadata", metadata)

    def invocation_metadata(self) -> Any:
        """What the caller sent, as far as it is trusted."""
        return self._metadata

    def __getattr__(self, name: str) -> Any:
        return getattr(self._servicer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._servicer, name, value)


grpc.ServicerContext.register(_Servicer)  # type: ignore[attr-defined]
aio.ServicerContext.register(_Servicer)  # type: ignore[attr-defined]


class MisdirectedError(Exception):
    """The caller meant another version of this service, and ``GRAYMW_STRICT`` says to refuse that."""

    def __init__(self, served: str, decided: str | None) -> None:
        super().__init__(f"gray_misdirected: this is {served}, the call is for {decided}")


def refusal_code(error: BaseException) -> grpc.StatusCode:
    """Status of a call that ended in an exception."""
    if isinstance(error, GrayUnavailableError):
        return grpc.StatusCode.UNAVAILABLE
    # HTTP's 421 has no counterpart. Not UNAVAILABLE: the same channel leads here again, however often it is tried.
    return grpc.StatusCode.FAILED_PRECONDITION if isinstance(error, MisdirectedError) else grpc.StatusCode.UNKNOWN


class Serving(NamedTuple):
    """One call being served.

    Attributes:
        context: Where the application's code runs.
        servicer: What the application is given.
        span: Our own SERVER span; None where an instrumentation makes one, or nobody records.
        observation: Who is told of the call; None where nobody is.
        refusal: Why the application must not be asked; None: it is to answer.
    """

    context: Context
    servicer: Any
    span: Span | None
    observation: Observation | None
    refusal: MisdirectedError | None

    def check(self) -> None:
        """Raise where the application must not be asked.

        Raises:
            MisdirectedError: The call is for another version.
        """
        if self.refusal is not None:
            raise self.refusal

    def finish(self, error: BaseException | None = None) -> None:
        """The call is over. Later calls do nothing."""
        if self.observation is not None:
            self.observation.answered_rpc(_final_code(self.servicer, error).name)
            if error is not None and _code(self.servicer) is grpc.StatusCode.OK:  # else it is how grpc aborts a call
                self.observation.failed(error)
            self.observation.end()
        if self.span is not None and self.span.is_recording():
            _end(self.span, _final_code(self.servicer, error), error)

    def refuse(self, error: BaseException) -> None:
        """A stream ends here, as we refuse the call or a call of the application's.

        Ended rather than aborted: an asyncio server that runs the generator in a thread may be sending still.
        """
        self.servicer.set_code(refusal_code(error))
        self.servicer.set_details(str(error))
        self.finish(error)


def enter(engine: Engine, method: str, servicer: Any) -> Serving | None:
    """Admit one call; None: it is served as without us."""
    if _SERVED.get() is servicer:
        return None
    try:
        snapshot = engine.snapshot_for_request()
        received = metadata = tuple(servicer.invocation_metadata() or ())
        if not snapshot.headers.propagation.w3c_only:
            metadata = tuple(pair for pair in received if not wire.is_our_header(pair[0]))
        fields = united(pair for pair in metadata if not isinstance(pair[1], bytes))
        facts = RpcFacts(fields, snapshot.settings, method, peer_address(servicer.peer()))
        admitted = admit(engine, snapshot, facts)
        untouched = admitted.unchanged and len(metadata) == len(received)
        shown = servicer if untouched else _Servicer(servicer, _visible(metadata, admitted.baggage))
        span = _start_span(engine, admitted, facts)
        otel = admitted.context if span is None else trace.set_span_in_context(span, admitted.context)
        context = copy_context()
        context.run(attach, otel, admitted.carried)
        context.run(_SERVED.set, shown)
        observation = observe(engine.observers, admitted, facts, span) if engine.observers else None
        refusal = _misdirected(engine, admitted) if admitted.misdirected else None
        serving = Serving(context, shown, span, observation, refusal)
        if span is not None or observation is not None:
            _finish_in_any_case(servicer, serving)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the application
        counters.count("middleware.error")
        counters.once(log, f"grpc:{type(error).__name__}", logging.ERROR, "call passed as it was: %r", error)
        return None
    return serving


def _misdirected(engine: Engine, admitted: Admitted) -> MisdirectedError:
    release = admitted.snapshot.document.governing(engine.settings.service)
    return MisdirectedError(engine.settings.version, admitted.gray.version(release.name if release else None))


def peer_address(text: str) -> str | None:
    """Address in a peer such as ``ipv4:10.0.0.7:4711``; one that cannot be read is no address, so it is outside."""
    kind, _, rest = text.partition(":")
    if kind in ("unix", "unix-abstract"):
        return None
    host = unquote(rest.partition(",")[0]).rpartition(":")[0].strip("[]")
    return host or "unknown"


def _visible(metadata: tuple[Any, ...], baggage: str | None) -> tuple[Any, ...]:
    kept = tuple(pair for pair in metadata if pair[0] != "baggage")
    return kept if baggage is None else (*kept, _Metadatum("baggage", baggage))


def _start_span(engine: Engine, admitted: Admitted, facts: RpcFacts) -> Span | None:
    tracer = tracing.recording_tracer()
    if tracer is None or admitted.server_span is not None:
        return None
    name = facts.raw_path().strip("/")
    service, _, method = name.rpartition("/")
    attributes: dict[str, Any] = {
        **admitted.snapshot.server_attributes(admitted.gray, engine.settings.version),
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
    }
    peer = facts.peer()
    if peer:
        attributes["client.address"] = peer
    return tracer.start_span(name, context=admitted.context, kind=SpanKind.SERVER, attributes=attributes)


def _finish_in_any_case(servicer: Any, serving: Serving) -> None:
    """A call that is cancelled is never asked for its next answer, and grpc does not close the iterator."""
    watch = getattr(servicer, "add_done_callback", None)
    if watch is not None:
        watch(lambda _: serving.finish())
    else:
        servicer.add_callback(serving.finish)


def _code(servicer: Any) -> grpc.StatusCode:
    """Status that the application set; handlers that an asyncio server runs in threads cannot tell."""
    ask = getattr(servicer, "code", None)
    code = ask() if ask is not None else None
    if isinstance(code, grpc.StatusCode):
        return code
    return next((each for each in grpc.StatusCode if each.value[0] == code), grpc.StatusCode.OK)


def _final_code(servicer: Any, error: BaseException | None) -> grpc.StatusCode:
    if isinstance(error, _GONE):
        return grpc.StatusCode.CANCELLED
    code = _code(servicer)
    return refusal_code(error) if error is not None and code is grpc.StatusCode.OK else code


def _end(span: Span, code: grpc.StatusCode, error: BaseException | None) -> None:
    number: int = code.value[0]
    span.set_attribute("rpc.grpc.status_code", number)
    if code in _FAULTS:
        span.set_attribute("error.type", code.name)
        span.set_status(Status(StatusCode.ERROR, str(error) if error is not None else None))
    span.end()
