"""What the watches of one process share: one connection that pushes, and HTTP where nothing can be pushed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from graymw.errors import SourceError
from graymw.remote.http import tls_context
from graymw.remote.nacos.connection import Module, NacosConnection
from graymw.remote.nacos.credentials import Memory
from graymw.remote.nacos.http2 import is_installed
from graymw.remote.nacos.http_api import NacosHttp
from graymw.remote.nacos.place import NacosPlace
from graymw.remote.pacing import Pace
from graymw.settings.access import Access

_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 60.0
"""How long to poll a server that answers but does not push, before it is tried again."""

_OPENINGS_AT_ONCE: Final = 5
_OPENINGS_PER_SECOND: Final = 1.0
"""A server may ask to connect anew; one that does so again and again is not followed in a busy loop."""

_SHARED_SECONDS: Final = 1.0
"""How long the watches of a process share the failure of one of them."""


class NoPushError(SourceError):
    """Nothing can be pushed now; HTTP may do."""


class NacosSession:
    """To be made and used in one event loop.

    Args:
        place: Which servers, namespace and group.
        access: Credentials, and certificates for TLS.
        module: What the connection is for.
        memory: What earlier connections found out.

    Raises:
        MissingExtraError: The HTTP library is not installed.
        SourceError: A certificate cannot be used.
    """

    def __init__(
        self,
        place: NacosPlace,
        access: Access,
        module: Module,
        memory: Memory,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.http = NacosHttp(place, access, memory)
        self._place = place
        self._access = access
        self._module = module
        self._clock = clock
        self._lock = asyncio.Lock()
        self._openings = Pace(_OPENINGS_AT_ONCE, _OPENINGS_PER_SECOND)
        self._connection: NacosConnection | None = None
        self._pause = _FIRST_PAUSE
        self._push_from = 0.0
        self._failed_at: float | None = None
        self._why_not = ""

    @property
    def may_push(self) -> bool:
        """Whether it is time to try a connection that pushes."""
        return is_installed() and bool(self._place.grpc_hosts) and self._clock() >= self._push_from

    async def connection(self) -> NacosConnection:
        """The connection, made anew where it is lost.

        Raises:
            NoPushError: There is none to be had now.
        """
        async with self._lock:
            if self._connection is not None and not self._connection.lost.done():
                return self._connection
            if not self.may_push:
                raise NoPushError(self._why_not or self._reason())
            if self._failed_at is not None and self._clock() < self._failed_at + _SHARED_SECONDS:
                raise NoPushError(self._why_not)
            await self._drop()
            await self._openings.step()
            self._connection = await self._opened()
            self._pause, self._failed_at = _FIRST_PAUSE, None
            return self._connection

    def polled(self) -> None:
        """The server answers over HTTP: where it did not push, it is left in peace for a while."""
        if self._failed_at is not None and self._push_from <= self._failed_at:
            self._push_from = self._clock() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def close(self) -> None:
        """Close every connection; what hangs on them at the server goes with them."""
        await self._drop()
        await self.http.close()

    async def _opened(self) -> NacosConnection:
        hosts = list(self._place.grpc_hosts)
        random.shuffle(hosts)  # so that clients spread over the servers
        for host, port in hosts:
            tls = tls_context(self._access, "nacos") if self._place.url.secure else None
            try:
                return await NacosConnection.open(
                    host,
                    port,
                    tls=tls,
                    credentials=self.http.credentials,
                    module=self._module,
                    tenant=self._place.namespace,
                )
            except SourceError as error:
                self._why_not = str(error)
        self._failed_at = self._clock()
        raise NoPushError(self._why_not)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _reason(self) -> str:
        if not is_installed():
            return "nacos pushes over HTTP/2, and h2 is not installed: pip install 'graymw[nacos]'"
        return f"{self._place.setting} says grpc_port=0, so that nacos is polled"
