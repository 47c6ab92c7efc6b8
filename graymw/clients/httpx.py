"""httpx: every client of the process, and transports for who prefers to be explicit."""

from __future__ import annotations

import httpx

from graymw.clients.httpx_family import AsyncWrapping, Family, Wrapping
from graymw.clients.patching import Patches

_family = Family(httpx)
_patches = Patches()


class GrayTransport(Wrapping, httpx.BaseTransport):
    """Carries and routes what is sent over another transport: ``httpx.Client(transport=GrayTransport())``.

    Args:
        transport: The transport to send over; default: a new ``httpx.HTTPTransport``.
    """

    family = _family

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        super().__init__(httpx.HTTPTransport() if transport is None else transport)


class AsyncGrayTransport(AsyncWrapping, httpx.AsyncBaseTransport):
    """Carries and routes what is sent over another transport: ``httpx.AsyncClient(transport=AsyncGrayTransport())``.

    Args:
        transport: The transport to send over; default: a new ``httpx.AsyncHTTPTransport``.
    """

    family = _family

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(httpx.AsyncHTTPTransport() if transport is None else transport)


def install() -> None:
    """Cover every client of the process."""
    _patches.replace(httpx.Client, "_transport_for_url", _family.hops(_patches, GrayTransport))
    _patches.replace(httpx.AsyncClient, "_transport_for_url", _family.hops(_patches, AsyncGrayTransport))
    _patches.active = True


def uninstall() -> None:
    """Give the clients back as they were."""
    _patches.restore()
