"""httpx: every client of the process, and transports for who prefers to be explicit."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

from graymw.clients.httpx_family import Family
from graymw.clients.patching import Patches

_family = Family(httpx)
_patches = Patches()


class GrayTransport(httpx.BaseTransport):
    """Carries and routes what is sent over another transport: ``httpx.Client(transport=GrayTransport())``.

    Args:
        transport: The transport to send over; default: a new ``httpx.HTTPTransport``.
    """

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._transport = httpx.HTTPTransport() if transport is None else transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            GrayUnavailableError: No instance may take the call.
        """
        response: httpx.Response = _family.send(self._transport, request)
        return response

    def close(self) -> None:
        """Close the transport inside."""
        self._transport.close()

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._transport.__exit__(exc_type, exc_value, traceback)


class AsyncGrayTransport(httpx.AsyncBaseTransport):
    """Carries and routes what is sent over another transport: ``httpx.AsyncClient(transport=AsyncGrayTransport())``.

    Args:
        transport: The transport to send over; default: a new ``httpx.AsyncHTTPTransport``.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            GrayUnavailableError: No instance may take the call.
        """
        response: httpx.Response = await _family.send_async(self._transport, request)
        return response

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(exc_type, exc_value, traceback)


def install() -> None:
    """Cover every client of the process."""
    for client, explicit in _covered():
        _patches.replace(client, "_transport_for_url", _family.hops(_patches, explicit))
    _patches.active = True


def uninstall() -> None:
    """Give the clients back as they were."""
    _patches.restore()


def _covered() -> tuple[tuple[Any, type], ...]:
    return ((httpx.Client, GrayTransport), (httpx.AsyncClient, AsyncGrayTransport))
