"""Interceptors for gRPC servers, blocking and asyncio.

Every step of a streamed answer runs in its call's own context, and a handler that grpc runs in its thread pool sees its
own call's context as well.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import grpc
from grpc import aio

from graymw.errors import GrayUnavailableError
from graymw.middleware.grpc.serving import MisdirectedError, Serving, enter, refusal_code
from graymw.runtime.engine import Engine
from graymw.runtime.stepping import Stepped

Behaviour = Callable[[Any, Any], Any]
_REFUSED: Final = (GrayUnavailableError, MisdirectedError)


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
        serving = enter(engine, method, servicer)
        if serving is None:
            return behaviour(request, servicer)
        if streams and serving.refusal is not None:
            serving.refuse(serving.refusal)
            return iter(())
        try:
            serving.check()
            answer = serving.context.run(behaviour, request, serving.servicer)
        except _REFUSED as error:
            serving.finish(error)
            servicer.abort(refusal_code(error), str(error))
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

    def __init__(self, answers: Iterable[Any], serving: Serving) -> None:
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
        except _REFUSED as error:
            serving.refuse(error)
            raise StopIteration from None
        except BaseException as error:
            serving.finish(error)
            raise


def _awaited(engine: Engine, method: str, behaviour: Behaviour) -> Behaviour:
    async def serve(request: Any, servicer: Any) -> Any:
        serving = enter(engine, method, servicer)
        if serving is None:
            return await behaviour(request, servicer)
        try:
            serving.check()
            answer = await Stepped(behaviour(request, serving.servicer), serving.context)
        except _REFUSED as error:
            serving.finish(error)
            await servicer.abort(refusal_code(error), str(error))
        except BaseException as error:
            serving.finish(error)
            raise
        serving.finish()
        return answer

    return serve


def _generating(engine: Engine, method: str, behaviour: Behaviour) -> Behaviour:
    async def serve(request: Any, servicer: Any) -> AsyncIterator[Any]:
        serving = enter(engine, method, servicer)
        answers = behaviour(request, servicer if serving is None else serving.servicer)
        if serving is None:
            async for answer in answers:
                yield answer
            return
        try:
            serving.check()
            while True:
                try:
                    answer = await Stepped(answers.__anext__(), serving.context)
                except StopAsyncIteration:
                    break
                yield answer
        except _REFUSED as error:
            serving.refuse(error)
        except BaseException as error:
            serving.finish(error)
            raise
        finally:
            await Stepped(answers.aclose(), serving.context)
        serving.finish()

    return serve
