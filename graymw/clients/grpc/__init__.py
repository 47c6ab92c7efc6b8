"""grpcio: every channel of the process, and channels and interceptors for who prefers to be explicit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import grpc
from grpc import _channel, aio

from graymw.clients.grpc.aio_channel import GrayAioChannel
from graymw.clients.grpc.channel import GrayChannel
from graymw.clients.grpc.interceptors import GrayClientInterceptor, aio_client_interceptors
from graymw.clients.patching import Patches

__all__ = [
    "GrayAioChannel",
    "GrayChannel",
    "GrayClientInterceptor",
    "aio_client_interceptors",
    "aio_insecure_channel",
    "aio_secure_channel",
    "insecure_channel",
    "install",
    "secure_channel",
    "uninstall",
]

_patches: Final = Patches()
_BLOCKING: Final[Any] = _channel.Channel
_AIO_INSECURE: Final[Any] = aio.insecure_channel
_AIO_SECURE: Final[Any] = aio.secure_channel


class _ConnectAio(NamedTuple):
    """Makes grpc's own asyncio channels.

    Attributes:
        credentials: Those given; None: TLS was not asked for, so where an instance wants it, grpc's defaults.
        insecure: What makes channels without TLS.
        secure: What makes channels with TLS.
    """

    credentials: Any
    compression: Any
    interceptors: Any
    insecure: Any = _AIO_INSECURE
    secure: Any = _AIO_SECURE

    def __call__(self, target: str, options: Any, *, tls: bool) -> aio.Channel:
        given = {"options": options, "compression": self.compression, "interceptors": self.interceptors}
        channel: aio.Channel
        if tls:
            credentials = grpc.ssl_channel_credentials() if self.credentials is None else self.credentials
            channel = self.secure(target, credentials, **given)
        else:
            channel = self.insecure(target, **given)
        return channel


def insecure_channel(target: str, options: Any = None, compression: Any = None) -> GrayChannel:
    """As ``grpc.insecure_channel``, carrying and routed."""
    return _blocking(_BLOCKING, target, options, None, compression)


def secure_channel(target: str, credentials: Any, options: Any = None, compression: Any = None) -> GrayChannel:
    """As ``grpc.secure_channel``, carrying and routed."""
    return _blocking(_BLOCKING, target, options, credentials._credentials, compression)  # noqa: SLF001


def aio_insecure_channel(
    target: str, options: Any = None, compression: Any = None, interceptors: Any = None
) -> GrayAioChannel:
    """As ``grpc.aio.insecure_channel``, carrying and routed."""
    return GrayAioChannel(target, options, _ConnectAio(None, compression, interceptors))


def aio_secure_channel(
    target: str, credentials: Any, options: Any = None, compression: Any = None, interceptors: Any = None
) -> GrayAioChannel:
    """As ``grpc.aio.secure_channel``, carrying and routed."""
    return GrayAioChannel(target, options, _ConnectAio(credentials, compression, interceptors), secure=True)


def install() -> None:
    """Cover every channel that is made from now on."""
    _patches.replace(_channel, "Channel", _making)
    _patches.replace(aio, "insecure_channel", _making_aio_insecure)
    _patches.replace(aio, "secure_channel", _making_aio_secure)
    _patches.active = True


def uninstall() -> None:
    """Make channels as before."""
    _patches.restore()


def _making(original: Any) -> Any:
    """In the place of the class that grpc's two functions make, so whoever imported those by name is covered, too."""

    def channel(target: str, options: Any, credentials: Any, compression: Any) -> Any:
        if not _patches.active:
            return original(target, options, credentials, compression)
        return _blocking(original, target, options, credentials, compression)

    return channel


def _making_aio_insecure(original: Any) -> Any:
    def insecure_channel(
        target: str, options: Any = None, compression: Any = None, interceptors: Any = None
    ) -> aio.Channel:
        connect = _ConnectAio(None, compression, interceptors, insecure=original)
        return GrayAioChannel(target, options, connect) if _patches.active else connect(target, options, tls=False)

    return insecure_channel


def _making_aio_secure(original: Any) -> Any:
    def secure_channel(
        target: str, credentials: Any, options: Any = None, compression: Any = None, interceptors: Any = None
    ) -> aio.Channel:
        connect = _ConnectAio(credentials, compression, interceptors, secure=original)
        if not _patches.active:
            return connect(target, options, tls=True)
        return GrayAioChannel(target, options, connect, secure=True)

    return secure_channel


def _blocking(make: Any, target: str, options: Any, credentials: Any, compression: Any) -> GrayChannel:
    def connect(target: str, options: Iterable[tuple[str, Any]], *, tls: bool) -> grpc.Channel:
        chosen = credentials
        if tls and chosen is None:
            chosen = grpc.ssl_channel_credentials()._credentials  # type: ignore[attr-defined]  # noqa: SLF001
        channel: grpc.Channel = make(target, options, chosen, compression)
        return channel

    return GrayChannel(target, options, connect, secure=credentials is not None)
