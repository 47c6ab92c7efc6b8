"""Interceptors for gRPC servers: ``grpc.server(pool, interceptors=[GrayServerInterceptor()])``.

Clients need no line of their own: ``graymw.instrument()``, which any of these implies, covers every channel.
Needs ``pip install 'graymw[grpc]'``.
"""

from __future__ import annotations

from graymw.errors import MissingExtraError
from graymw.installation import SettingsLike, start

try:
    from graymw.middleware.grpc import AioInterceptor, BlockingInterceptor
except ImportError as error:
    raise MissingExtraError("grpcio", "grpc") from error


class GrayServerInterceptor(BlockingInterceptor):
    """Makes a ``grpc.server`` take part in gray releases.

    Args:
        settings: Instead of ``GRAYMW_*`` variables and files.
    """

    def __init__(self, *, settings: SettingsLike = None) -> None:
        super().__init__(start(settings))


class GrayAioServerInterceptor(AioInterceptor):
    """Makes a ``grpc.aio.server`` take part in gray releases, whatever kinds of handlers it has.

    Args:
        settings: Instead of ``GRAYMW_*`` variables and files.
    """

    def __init__(self, *, settings: SettingsLike = None) -> None:
        super().__init__(start(settings))
