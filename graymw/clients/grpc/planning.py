"""Planning one call: what its metadata carries, where it goes, and noticing how it ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from threading import Lock
from typing import Any, Final, Generic, TypeVar

from graymw.clients.containment import contained
from graymw.clients.grpc.targets import Target
from graymw.core.instances import Instance
from graymw.errors import GrayUnavailableError
from graymw.runtime import outbound
from graymw.runtime.outbound import Outgoing

MAX_INSTANCES: Final = 128
"""Channels to instances kept for one channel; the one unused for longest is forgotten first."""

MAX_BACKOFF_MS: Final = 5_000
"""An instance that is tried anew must not fail for a channel that still waits: ejections last as long at least."""


class Planned:
    """A call that is planned already.

    Args:
        authority: Of the channel it is made over.

    Attributes:
        taken: A channel of ours sends it, to its instance where it has one.
    """

    __slots__ = ("authority", "outgoing", "taken")

    def __init__(self, authority: str, outgoing: Outgoing) -> None:
        self.authority = authority
        self.outgoing = outgoing
        self.taken = False


PLANNED: Final[ContextVar[Planned | None]] = ContextVar("graymw_grpc_planned", default=None)
"""Set while a call is under way, so that an interceptor and a channel do not both plan it."""

Metadata = Iterable[tuple[str, str | bytes]] | None
ChannelT = TypeVar("ChannelT")


def begin(target: Target, method: str | bytes, metadata: Metadata, *, traced: bool = False) -> Outgoing | None:
    """Plan one call; None: it is left alone.

    Args:
        method: Full name, such as ``/package.Service/Method``.
        traced: An OpenTelemetry instrumentation below makes the CLIENT span.

    Raises:
        GrayUnavailableError: No instance may take the call.
    """
    try:
        name = method.decode() if isinstance(method, bytes) else method
        return outbound.begin(
            method=name,
            scheme="grpc",
            host=target.host,
            port=target.port,
            path=name,
            baggage=_baggage(metadata),
            instrumented=traced,
            rpc=True,
        )
    except GrayUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("grpc", error)
        return None


def planned_for(target: Target) -> Planned | None:
    """What the layer above planned of this call already."""
    planned = PLANNED.get()
    return planned if planned is not None and planned.authority == target.authority else None


def instance_for(target: Target) -> Instance | None:
    """Instance to watch the connectivity of, where the target is a service; outside a request a stable one."""
    try:
        outgoing = outbound.begin(
            method="", scheme="grpc", host=target.host, port=target.port, instrumented=True, rpc=True
        )
    except GrayUnavailableError:
        return None
    return outgoing.instance if outgoing is not None else None


def _baggage(metadata: Metadata) -> str | None:
    values = [_text(value) for key, value in metadata or () if key.lower() == "baggage"]
    return ",".join(values) if values else None


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def carrying(metadata: Metadata, outgoing: Outgoing) -> tuple[tuple[str, str | bytes], ...]:
    """Metadata with what the call carries; all else, binary keys included, as it was and in its order."""
    replaced = {name for name, _ in outgoing.headers}.union(outgoing.remove)
    kept = (pair for pair in metadata or () if pair[0].lower() not in replaced)
    return (*kept, *outgoing.headers)


def instance_options(
    options: Iterable[tuple[str, Any]], target: Target, *, secure: bool
) -> tuple[tuple[str, Any], ...]:
    """Options of a channel to an instance: the server, and TLS, are told the logical name, and no proxy is between."""
    given = tuple(options)
    known = {name for name, _ in given}
    ours: dict[str, Any] = {
        "grpc.default_authority": target.authority,
        "grpc.enable_http_proxy": 0,
        "grpc.max_reconnect_backoff_ms": MAX_BACKOFF_MS,
    }
    if secure:
        ours["grpc.ssl_target_name_override"] = target.host
    return (*given, *(pair for pair in ours.items() if pair[0] not in known))


class InstanceChannels(Generic[ChannelT]):
    """Channels to the instances of one service, each made when the first call goes there.

    Args:
        connect: Makes a channel to an instance.
    """

    def __init__(self, connect: Callable[[Instance], ChannelT]) -> None:
        self._connect = connect
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, int, bool], tuple[ChannelT, dict[tuple[str, str], Any]]] = OrderedDict()

    def channel(self, instance: Instance) -> ChannelT:
        """Channel to an instance."""
        return self._entry(instance)[0]

    def callable(self, instance: Instance, kind: str, method: str, make: Callable[[ChannelT], Any]) -> Any:
        """Multi-callable of an instance.

        Args:
            kind: Such as ``unary_unary``.
            make: Makes one from the instance's channel.
        """
        channel, callables = self._entry(instance)
        found = callables.get((kind, method))
        if found is None:
            found = callables[kind, method] = make(channel)
        return found

    def drain(self) -> list[ChannelT]:
        """Forget all, and return them for closing."""
        with self._lock:
            drained = [channel for channel, _ in self._known.values()]
            self._known.clear()
        return drained

    def _entry(self, instance: Instance) -> tuple[ChannelT, dict[tuple[str, str], Any]]:
        key = (instance.host, instance.port, instance.tls)
        with self._lock:
            entry = self._known.get(key)
            if entry is None:
                entry = self._known[key] = (self._connect(instance), {})
            self._known.move_to_end(key)
            if len(self._known) > MAX_INSTANCES:
                self._known.popitem(last=False)  # calls under way keep it alive, then it closes itself
        return entry
