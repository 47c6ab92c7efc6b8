"""Gray release for gRPC servers, blocking and asyncio.

Each call runs in a ``contextvars`` context of its own, every step of a streamed answer included. So nothing stays on
the thread or task when the call is over, and a handler that grpc runs in its thread pool sees its own call's context.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import grpc
from grpc import aio
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from graymw.errors import GrayUnavailableError
from graymw.middleware.stepping import Stepped
from graymw.runtime import counters, tracing
from graymw.runtime.admission import Admitted, admit
from graymw.runtime.current import attach
from graymw.runtime.engine import Engine
from graymw.runtime.live_facts import LiveFacts, united
from graymw.settings.schema import Settings

log = logging.getLogger("graymw.grpc")

Behaviour = Callable[[Any, Any], Any]

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


class _Serving(NamedTuple):
    """One call being served.

    Attributes:
        context: Where the application's code runs.
        servicer: What the application is given.
        span: Our own SERVER span; None where an instrumentation makes one, or nobody records.
    """

    context: Context
    servicer: Any
    span: Span | None

    def finish(self, error: BaseException | None = None) -> None:
        """The call is over. Later calls do nothing."""
        if self.span is not None and self.span.is_recording():
            _end(self.span, _code(self.servicer), error)

    def refuse(self, error: GrayUnavailableError) -> None:
        """A stream ends here, as no instance may take a call of the application's.

        Ended rather than aborted: an asyncio server that runs the generator in a thread may be sending still.
        """
        self.servicer.set_code(grpc.StatusCode.UNAVAILABLE)
        self.servicer.set_details(str(error))
        self.finish(error)


def _enter(engine: Engine, method: str, servicer: Any) -> _Serving | None:
    """Admit one call; None: it is served as without us."""
    if _SERVED.get() is servicer:
        return None
    try:
        metadata = tuple(servicer.invocation_metadata() or ())
        fields = united(pair for pair in metadata if not isinstance(pair[1], bytes))
        facts = RpcFacts(fields, engine.settings, method, _peer(servicer.peer()))
        admitted = admit(engine, engine.snapshot, facts)
        shown = servicer if admitted.unchanged else _Servicer(servicer, _visible(metadata, admitted.baggage))
        span = _start_span(engine, admitted, facts)
        otel = admitted.context if span is None else trace.set_span_in_context(span, admitted.context)
        context = copy_context()
        context.run(attach, otel, admitted.carried)
        context.run(_SERVED.set, shown)
        serving = _Serving(context, shown, span)
        if span is not None:
            _finish_in_any_case(servicer, serving)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the application
        counters.count("middleware.error")
        counters.once(log, f"grpc:{type(error).__name__}", logging.ERROR, "call passed as it was: %r", error)
        return None
    return serving


def _peer(text: str) -> str | None:
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


def _finish_in_any_case(servicer: Any, serving: _Serving) -> None:
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


def _end(span: Span, code: grpc.StatusCode, error: BaseException | None) -> None:
    if isinstance(error, _GONE):
        code = grpc.StatusCode.CANCELLED
    elif error is not None and code is grpc.StatusCode.OK:
        code = _raised(error)
    number: int = code.value[0]
    span.set_attribute("rpc.grpc.status_code", number)
    if code in _FAULTS:
        span.set_attribute("error.type", code.name)
        span.set_status(Status(StatusCode.ERROR, str(error) if error is not None else None))
    span.end()


def _raised(error: BaseException) -> grpc.StatusCode:
    return grpc.StatusCode.UNAVAILABLE if isinstance(error, GrayUnavailableError) else grpc.StatusCode.UNKNOWN


class BlockingInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Decides, carries and shows one call's version around a blocking server's handlers.

    Args:
        engine: What to decide by; None: calls are served as without us.
    """

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        if engine is not None:
            engine.guards_inbound = True

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Wrap the handler of one call."""
        handler = continuation(handler_call_details)
        if self._engine is None or handler is None:
            return handler
        return _wrapped(self._engine, handler_call_details.method, handler, _blocking)


class AioInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg]
    """Decides, carries and shows one call's version around an asyncio server's handlers, of whatever kind they are.

    Args:
        engine: What to decide by; None: calls are served as without us.
    """

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        if engine is not None:
            engine.guards_inbound = True

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        if self._engine is None or handler is None:
            return handler
        return _wrapped(self._engine, handler_call_details.method, handler, _as_written)


_MAKERS: Final[dict[tuple[bool, bool], tuple[str, Callable[..., Any]]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
"""By whether the request and the answer are streams: where a handler keeps its behaviour, and what makes handlers."""


def _wrapped(engine: Engine, method: str, handler: Any, wrap: Callable[..., Behaviour]) -> Any:
    kind, make = _MAKERS[bool(handler.request_streaming), bool(handler.response_streaming)]
    behaviour = wrap(engine, method, getattr(handler, kind), bool(handler.response_streaming))
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def _as_written(engine: Engine, method: str, behaviour: Behaviour, streams: bool) -> Behaviour:
    """By the function itself grpc tells whether to await it, iterate it or run it in a thread: keep its kind."""
    if inspect.isasyncgenfunction(behaviour):
        return _generating(engine, method, behaviour)
    if inspect.iscoroutinefunction(behaviour):
        return _awaited(engine, method, behaviour)
    return _blocking(engine, method, behaviour, streams)


def _blocking(engine: Engine, method: str, behaviour: Behaviour, streams: bool) -> Behaviour:
    def serve(request: Any, servicer: Any) -> Any:
        serving = _enter(engine, method, servicer)
        if serving is None:
            return behaviour(request, servicer)
        try:
            answer = serving.context.run(behaviour, request, serving.servicer)
        except GrayUnavailableError as error:
            serving.finish(error)
            servicer.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except BaseException as error:
            serving.finish(error)
            raise
        if streams:
            return _Answers(answer, serving)
        serving.finish()
        return answer

    return serve


class _Answers:
    """A streamed answer whose every step runs in its call's context."""

    def __init__(self, answers: Iterable[Any], serving: _Serving) -> None:
        self._serving = serving
        self._answers: Iterator[Any] = serving.context.run(iter, answers)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        serving = self._serving
        try:
            return serving.context.run(next, self._answers)
        except StopIteration:
            serving.finish()
            raise
        except GrayUnavailableError as error:
            serving.refuse(error)
            raise StopIteration from None
        except BaseException as error:
            serving.finish(error)
            raise


def _awaited(engine: Engine, method: str, behaviour: Behaviour) -> Behaviour:
    async def serve(request: Any, servicer: Any) -> Any:
        serving = _enter(engine, method, servicer)
        if serving is None:
            return await behaviour(request, servicer)
        try:
            answer = await Stepped(behaviour(request, serving.servicer), serving.context)
        except GrayUnavailableError as error:
            serving.finish(error)
            await servicer.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except BaseException as error:
            serving.finish(error)
            raise
        serving.finish()
        return answer

    return serve


def _generating(engine: Engine, method: str, behaviour: Behaviour) -> Behaviour:
    async def serve(request: Any, servicer: Any) -> AsyncIterator[Any]:
        serving = _enter(engine, method, servicer)
        answers = behaviour(request, servicer if serving is None else serving.servicer)
        if serving is None:
            async for answer in answers:
                yield answer
            return
        try:
            while True:
                try:
                    answer = await Stepped(answers.__anext__(), serving.context)
                except StopAsyncIteration:
                    break
                yield answer
        except GrayUnavailableError as error:
            serving.refuse(error)
        except BaseException as error:
            serving.finish(error)
            raise
        finally:
            await Stepped(answers.aclose(), serving.context)
        serving.finish()

    return serve
