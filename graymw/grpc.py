"""Interceptors for gRPC servers: ``grpc.server(pool, interceptors=[GrayServerInterceptor()])``.

Clients need no line of their own: ``graymw.instrument()``, which any of these implies, covers every channel.
"""

from __future__ import annotations

from graymw.installation import SettingsLike, start
from graymw.middleware.grpc import AioInterceptor, BlockingInterceptor


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
