"""Interceptors, for channels that somebody else makes. They carry; routing takes a channel of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
from grpc import aio

from graymw.clients.containment import contained
from graymw.clients.grpc import aio_channel, channel
from graymw.clients.grpc.ending import end_raised
from graymw.clients.grpc.planning import PLANNED, Planned, begin, carrying, planned_for
from graymw.clients.grpc.targets import Target, parse_target
from graymw.runtime.outbound import Outgoing


class _Details(NamedTuple):
    """Details of one blocking call, as ``grpc.ClientCallDetails`` names them."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class GrayClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg]
):
    """Carries with every call of a channel: ``grpc.intercept_channel(channel, GrayClientInterceptor(target))``.

    Args:
        target: The channel's target, which tells whether gray members may leave.
    """

    def __init__(self, target: str) -> None:
        self._target = parse_target(target)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Carry with one call."""
        return self._intercept(continuation, client_call_details, request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Carry with one call."""
        return self._intercept(continuation, client_call_details, request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Carry with one call."""
        return self._intercept(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Carry with one call."""
        return self._intercept(continuation, client_call_details, request_iterator)

    def _intercept(self, continuation: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        if planned_for(self._target) is not None:
            return continuation(details, request)
        metadata = tuple(details.metadata or ())
        outgoing = begin(self._target, details.method, metadata)
        if outgoing is None:
            return continuation(details, request)
        planned = Planned(self._target.authority, outgoing)
        reset = PLANNED.set(planned)
        try:
            call = continuation(_carrying(details, metadata, outgoing), request)
        except BaseException as error:
            _leave(planned)
            end_raised(outgoing, error)
            raise
        finally:
            PLANNED.reset(reset)
        _leave(planned)
        channel.finish_with(call, outgoing)
        return call


def _leave(planned: Planned) -> None:
    """A channel of somebody else's sends the call where it is addressed to."""
    if not planned.taken:
        planned.outgoing.go_as_addressed()


def _carrying(details: Any, metadata: Any, outgoing: Outgoing) -> Any:
    try:
        return _Details(
            details.method,
            details.timeout,
            carrying(metadata, outgoing),
            getattr(details, "credentials", None),
            getattr(details, "wait_for_ready", None),
            getattr(details, "compression", None),
        )
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("grpc", error)
        return details


class _AioInterceptor:
    def __init__(self, target: Target) -> None:
        self._target = target

    async def _intercept(self, continuation: Callable[[Any, Any], Awaitable[Any]], details: Any, request: Any) -> Any:
        if planned_for(self._target) is not None:
            return await continuation(details, request)
        metadata = tuple(details.metadata or ())
        outgoing = begin(self._target, details.method, metadata)
        if outgoing is None:
            return await continuation(details, request)
        outgoing.go_as_addressed()
        carried = details._replace(metadata=aio.Metadata(*carrying(metadata, outgoing)))
        try:
            call = await continuation(carried, request)
        except BaseException as error:
            end_raised(outgoing, error)
            raise
        aio_channel.finish_with(call, outgoing)
        return call


class _UnaryUnary(_AioInterceptor, aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._intercept(continuation, client_call_details, request)


class _UnaryStream(_AioInterceptor, aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._intercept(continuation, client_call_details, request)


class _StreamUnary(_AioInterceptor, aio.StreamUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._intercept(continuation, client_call_details, request_iterator)


class _StreamStream(_AioInterceptor, aio.StreamStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._intercept(continuation, client_call_details, request_iterator)


def aio_client_interceptors(target: str) -> list[Any]:
    """Interceptors that carry with every call: ``grpc.aio.insecure_channel(target, interceptors=[...])``, as the last.

    Args:
        target: The channel's target, which tells whether gray members may leave.
    """
    parsed = parse_target(target)
    return [_UnaryUnary(parsed), _UnaryStream(parsed), _StreamUnary(parsed), _StreamStream(parsed)]
