"""asyncio channels. Interceptors, an OpenTelemetry instrumentation's included, run beneath, in a task of each call.

That task copies the context at the moment of the call, so what is attached then is what they inject. A call to a
service goes over the channel of one of its instances, chosen when the call is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol, Self

import grpc
from grpc import aio

from graymw.clients.containment import contained
from graymw.clients.grpc import aio_calls
from graymw.clients.grpc.channel import Arguments, replaced, requests_of, taken, with_requests
from graymw.clients.grpc.ending import end_finished_aio, end_raised
from graymw.clients.grpc.planning import (
    PLANNED,
    InstanceChannels,
    Planned,
    begin,
    carrying,
    instance_for,
    instance_options,
)
from graymw.clients.grpc.rewinding import AsyncRewindable
from graymw.clients.grpc.targets import parse_target
from graymw.core.instances import Instance
from graymw.runtime.outbound import Outgoing

_INTERCEPTORS = (
    "_unary_unary_interceptors",
    "_unary_stream_interceptors",
    "_stream_unary_interceptors",
    "_stream_stream_interceptors",
)


class ConnectAio(Protocol):
    """Makes grpc's own channel."""

    def __call__(self, target: str, options: Iterable[tuple[str, Any]], *, tls: bool) -> aio.Channel:
        """Channel to a target; with TLS even where the application asked for none."""


class GrayAioChannel(aio.Channel):
    """A channel whose calls carry and are routed.

    Args:
        target: As given to ``grpc.aio.insecure_channel``; the name of a service goes to its instances.
        options: As given there.
        connect: Makes the channels underneath.
        secure: Whether the application asked for TLS.
    """

    def __init__(
        self, target: str, options: Iterable[tuple[str, Any]] | None, connect: ConnectAio, *, secure: bool = False
    ) -> None:
        given = tuple(options or ())
        self.target = parse_target(target)
        self._addressed = connect(target, given, tls=secure)
        interceptors = [each for name in _INTERCEPTORS for each in getattr(self._addressed, name, ())]
        self.intercepted = bool(interceptors)
        self.traced = any(type(each).__module__.startswith("opentelemetry.instrumentation.") for each in interceptors)

        def connect_to(instance: Instance) -> aio.Channel:
            tls = secure or instance.tls
            return connect(instance.authority, instance_options(given, self.target, secure=tls), tls=tls)

        self.instances = InstanceChannels(connect_to)
        self._watched: aio.Channel | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "_addressed":
            raise AttributeError(name)
        return getattr(self._addressed, name)

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Multi-callable of one method."""
        return _UnaryUnary(self, "unary_unary", method, (args, kwargs), self._addressed)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Multi-callable of one method."""
        return _UnaryStream(self, "unary_stream", method, (args, kwargs), self._addressed)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Multi-callable of one method."""
        return _StreamUnary(self, "stream_unary", method, (args, kwargs), self._addressed)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Multi-callable of one method."""
        return _StreamStream(self, "stream_stream", method, (args, kwargs), self._addressed)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Connectivity: of an instance where the target is a service, else of the target."""
        return self._watch().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until ``get_state`` says something else."""
        await self._watch().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until a call could be sent."""
        await self._watch().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Close this channel and those to instances."""
        self._watched = self._addressed
        for channel in self.instances.drain():
            await channel.close(grace)
        await self._addressed.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _watch(self) -> aio.Channel:
        if self._watched is None:
            instance = instance_for(self.target)
            self._watched = self._addressed if instance is None else self.instances.channel(instance)
        return self._watched


class _MultiCallable:
    """Calls of one method. What they take is what grpc's own multi-callables take.

    Args:
        kind: Which method of a channel makes the multi-callable.
        arguments: What else that method was given.
    """

    def __init__(
        self, channel: GrayAioChannel, kind: str, method: str, arguments: Arguments, addressed: aio.Channel
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._streamed = kind.startswith("stream")
        self._method = method
        self._make = partial(_made, kind, method, arguments)
        self._addressed = self._make(addressed)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        channel = self._channel
        arguments, metadata = taken((args, kwargs))
        outgoing = begin(channel.target, self._method, metadata, traced=channel.traced)
        if outgoing is None:
            return self._addressed(*arguments[0], **arguments[1])
        requests = self._rewindable(arguments) if outgoing.instance is not None else None
        start = partial(self._started, arguments, metadata, requests)
        try:
            if outgoing.instance is not None:
                return _CALLS[self._kind](start, outgoing, partial(_is_replayable, requests, self._streamed))
            call = start(outgoing)
        except BaseException as error:
            end_raised(outgoing, error)
            raise
        finish_with(call, outgoing)
        return call

    def _rewindable(self, arguments: Arguments) -> AsyncRewindable | None:
        """Requests of the call as they can be read again; None where it has but one, or writes them by hand."""
        requests = requests_of(arguments) if self._streamed else None
        return AsyncRewindable(requests) if isinstance(requests, (AsyncIterable, Iterable)) else None

    def _started(
        self, arguments: Arguments, metadata: Any, requests: AsyncRewindable | None, outgoing: Outgoing
    ) -> Any:
        """Grpc's own call, begun as planned."""
        channel = self._channel
        send, (args, kwargs) = self._planned(arguments, metadata, requests, outgoing)
        reset = PLANNED.set(Planned(channel.target.authority, outgoing))
        token = outgoing.attach() if channel.intercepted else None
        try:
            return send(*args, **kwargs)
        finally:
            if token is not None:
                outgoing.detach(token)
            PLANNED.reset(reset)

    def _planned(
        self, arguments: Arguments, metadata: Any, requests: AsyncRewindable | None, outgoing: Outgoing
    ) -> tuple[Any, Arguments]:
        """The one place where a call turns to its instance."""
        send = self._addressed
        try:
            if outgoing.instance is not None:
                instances = self._channel.instances
                send = instances.callable(outgoing.instance, self._kind, self._method, self._make)
            if requests is not None:
                arguments = with_requests(arguments, requests.read())
            if not outgoing.changes_nothing:
                arguments = replaced(arguments, aio.Metadata(*carrying(metadata, outgoing)))
        except Exception as error:  # noqa: BLE001 - the call must go out
            contained("grpc.aio", error)
        return send, arguments


_CALLS: Final[Mapping[str, Any]] = {
    "unary_unary": aio_calls.UnaryUnary,
    "unary_stream": aio_calls.UnaryStream,
    "stream_unary": aio_calls.StreamUnary,
    "stream_stream": aio_calls.StreamStream,
}


def _is_replayable(requests: AsyncRewindable | None, streamed: bool) -> bool:
    return not streamed if requests is None else requests.replayable


def _made(kind: str, method: str, arguments: Arguments, channel: aio.Channel) -> Any:
    args, kwargs = arguments
    return getattr(channel, kind)(method, *args, **kwargs)


def finish_with(call: Any, outgoing: Outgoing) -> None:
    """Finish a plan when its call is over; at once where an interceptor returned something that cannot tell."""
    try:
        watch = getattr(call, "add_done_callback", None)
        if watch is None:
            outgoing.finish()
        else:
            watch(partial(end_finished_aio, outgoing))
    except Exception as error:  # noqa: BLE001 - the call must go on
        contained("grpc.aio", error)
        outgoing.finish()


class _UnaryUnary(_MultiCallable, aio.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    pass


class _UnaryStream(_MultiCallable, aio.UnaryStreamMultiCallable):  # type: ignore[type-arg]
    pass


class _StreamUnary(_MultiCallable, aio.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    pass


class _StreamStream(_MultiCallable, aio.StreamStreamMultiCallable):  # type: ignore[type-arg]
    pass
