"""Blocking channels. Interceptors, an OpenTelemetry instrumentation's included, are always above: what leaves, we see.

A call to a service goes over the channel of one of its instances, chosen when the call is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from threading import Lock
from typing import Any, Final, Protocol, Self, TypeAlias

import grpc

from graymw.clients.containment import contained
from graymw.clients.grpc.ending import again_raised, end, end_finished, end_raised
from graymw.clients.grpc.ongoing import Ongoing
from graymw.clients.grpc.planning import (
    InstanceChannels,
    begin,
    carrying,
    instance_for,
    instance_options,
    planned_for,
)
from graymw.clients.grpc.rewinding import Rewindable
from graymw.clients.grpc.targets import parse_target
from graymw.core.instances import Instance
from graymw.runtime.outbound import Outgoing

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments."""

_METADATA: Final = 2
"""Place of the metadata among the positional arguments of a call."""


class Connect(Protocol):
    """Makes grpc's own channel."""

    def __call__(self, target: str, options: Iterable[tuple[str, Any]], *, tls: bool) -> grpc.Channel:
        """Channel to a target; with TLS even where the application asked for none."""


class GrayChannel(grpc.Channel):
    """A channel whose calls carry and are routed.

    Args:
        target: As given to ``grpc.insecure_channel``; the name of a service goes to its instances.
        options: As given there.
        connect: Makes the channels underneath.
        secure: Whether the application asked for TLS.
    """

    def __init__(
        self, target: str, options: Iterable[tuple[str, Any]] | None, connect: Connect, *, secure: bool = False
    ) -> None:
        given = tuple(options or ())
        self.target = parse_target(target)
        self._addressed = connect(target, given, tls=secure)

        def connect_to(instance: Instance) -> grpc.Channel:
            tls = secure or instance.tls
            return connect(instance.authority, instance_options(given, self.target, secure=tls), tls=tls)

        self.instances = InstanceChannels(connect_to)
        self._watched: dict[Any, grpc.Channel] = {}
        self._lock = Lock()

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

    def subscribe(
        self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool | None = False
    ) -> None:
        """Watch the connectivity: of an instance where the target is a service, else of the target."""
        instance = instance_for(self.target)
        watched = self._addressed if instance is None else self.instances.channel(instance)
        with self._lock:
            self._watched[callback] = watched
        watched.subscribe(callback, bool(try_to_connect))

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Watch no longer."""
        with self._lock:
            watched = self._watched.pop(callback, self._addressed)
        watched.unsubscribe(callback)

    def close(self) -> None:
        """Close this channel and those to instances."""
        for channel in self.instances.drain():
            channel.close()
        self._addressed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _MultiCallable:
    """Calls of one method. What they take is what grpc's own multi-callables take, metadata in the third place.

    Args:
        kind: Which method of a channel makes the multi-callable.
        args: What else that method was given.
    """

    def __init__(self, channel: GrayChannel, kind: str, method: str, args: Arguments, addressed: grpc.Channel) -> None:
        self._channel = channel
        self._kind = kind
        self._streamed = kind.startswith("stream")
        self._method = method
        self._make = partial(_made, kind, method, args)
        self._addressed = self._make(addressed)

    def _wait(self, entry: str, arguments: Arguments) -> Any:
        """A call that returns when it is over."""
        outgoing, above, arguments, metadata = self._planned(arguments)
        requests = self._rewindable(arguments, outgoing) if self._streamed else None
        while True:
            send, (args, kwargs) = self._way(outgoing, above, arguments, metadata, requests)
            if outgoing is None or above:
                return getattr(send, entry)(*args, **kwargs)
            try:
                result = getattr(send, entry)(*args, **kwargs)
            except BaseException as error:
                again = again_raised(outgoing, error, replayable=self._is_replayable(requests))
                if again is None:
                    raise
                outgoing = again
            else:
                end(outgoing, grpc.StatusCode.OK, None)
                return result

    def _begin(self, entry: str, arguments: Arguments) -> Any:
        """A call that goes on after this returns."""
        outgoing, above, arguments, metadata = self._planned(arguments)
        requests = self._rewindable(arguments, outgoing) if self._streamed else None

        def start(planned: Outgoing | None) -> Any:
            send, (args, kwargs) = self._way(planned, above, arguments, metadata, requests)
            return getattr(send, entry)(*args, **kwargs)

        if outgoing is None or above:
            return start(outgoing)
        try:
            if outgoing.instance is not None:
                return Ongoing(start, outgoing, partial(self._is_replayable, requests))
            call = start(outgoing)
        except BaseException as error:
            end_raised(outgoing, error)
            raise
        finish_with(call, outgoing)
        return call

    def _planned(self, arguments: Arguments) -> tuple[Outgoing | None, bool, Arguments, Any]:
        """The plan of a call, whether a layer above made it and will finish it, the arguments, the metadata in them."""
        target = self._channel.target
        above = planned_for(target)
        arguments, metadata = taken(arguments)
        if above is not None:
            above.taken = True
            return above.outgoing, True, arguments, metadata
        return begin(target, self._method, metadata), False, arguments, metadata

    def _way(
        self,
        outgoing: Outgoing | None,
        above: bool,
        arguments: Arguments,
        metadata: Any,
        requests: Rewindable | None,
    ) -> tuple[Any, Arguments]:
        """The one place where a call turns to its instance: whom to call, and with what."""
        send = self._addressed
        if outgoing is None:
            return send, arguments
        try:
            if outgoing.instance is not None:
                send = self._channel.instances.callable(outgoing.instance, self._kind, self._method, self._make)
            if requests is not None:
                arguments = with_requests(arguments, requests.read())
            if not above and not outgoing.changes_nothing:
                arguments = replaced(arguments, carrying(metadata, outgoing))
        except Exception as error:  # noqa: BLE001 - the call must go out
            contained("grpc", error)
        return send, arguments

    def _rewindable(self, arguments: Arguments, outgoing: Outgoing | None) -> Rewindable | None:
        """Requests of a call to an instance as they can be read again."""
        source = requests_of(arguments) if outgoing is not None and outgoing.instance is not None else None
        return Rewindable(source) if isinstance(source, Iterator) else None

    def _is_replayable(self, requests: Rewindable | None) -> bool:
        """Whether all requests read so far can be sent again."""
        return not self._streamed if requests is None else requests.replayable


def taken(arguments: Arguments) -> tuple[Arguments, Any]:
    """Arguments of a call and the metadata among them, which may be an iterator: it is read once, here."""
    args, kwargs = arguments
    metadata = args[_METADATA] if len(args) > _METADATA else kwargs.get("metadata")
    if metadata is None or isinstance(metadata, (tuple, list)):
        return arguments, metadata
    metadata = tuple(metadata)
    return replaced(arguments, metadata), metadata


def requests_of(arguments: Arguments) -> Any:
    """Requests of a call that streams them; None for none."""
    args, kwargs = arguments
    return args[0] if args else kwargs.get("request_iterator")


def with_requests(arguments: Arguments, requests: Any) -> Arguments:
    """Arguments of a call with other requests."""
    args, kwargs = arguments
    if args:
        return (requests, *args[1:]), kwargs
    return args, {**kwargs, "request_iterator": requests}


def replaced(arguments: Arguments, metadata: Any) -> Arguments:
    """Arguments of a call with other metadata."""
    args, kwargs = arguments
    if len(args) > _METADATA:
        return (*args[:_METADATA], metadata, *args[_METADATA + 1 :]), kwargs
    return args, {**kwargs, "metadata": metadata}


def _made(kind: str, method: str, arguments: Arguments, channel: grpc.Channel) -> Any:
    args, kwargs = arguments
    return getattr(channel, kind)(method, *args, **kwargs)


def finish_with(call: Any, outgoing: Outgoing) -> None:
    """Finish a plan when its call is over; at once where an interceptor returned something that cannot tell."""
    try:
        watch = getattr(call, "add_callback", None)
        if watch is None:
            outgoing.finish()
        elif not watch(partial(end_finished, outgoing, call)):
            end_finished(outgoing, call)
    except NotImplementedError:  # grpc's own errors, which interceptors get in the place of a call, are over
        end_finished(outgoing, call)
    except Exception as error:  # noqa: BLE001 - the call must go on
        contained("grpc", error)
        outgoing.finish()


class _UnaryUnary(_MultiCallable, grpc.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._wait("__call__", (args, kwargs))

    def with_call(self, *args: Any, **kwargs: Any) -> Any:
        return self._wait("with_call", (args, kwargs))

    def future(self, *args: Any, **kwargs: Any) -> Any:
        return self._begin("future", (args, kwargs))


class _UnaryStream(_MultiCallable, grpc.UnaryStreamMultiCallable):  # type: ignore[type-arg]
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._begin("__call__", (args, kwargs))


class _StreamUnary(_MultiCallable, grpc.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._wait("__call__", (args, kwargs))

    def with_call(self, *args: Any, **kwargs: Any) -> Any:
        return self._wait("with_call", (args, kwargs))

    def future(self, *args: Any, **kwargs: Any) -> Any:
        return self._begin("future", (args, kwargs))


class _StreamStream(_MultiCallable, grpc.StreamStreamMultiCallable):  # type: ignore[type-arg]
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._begin("__call__", (args, kwargs))
