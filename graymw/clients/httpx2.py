"""httpx2, which has httpx's interface: every client of the process, and transports for who prefers to be explicit."""

from __future__ import annotations

import importlib
from typing import Any, Final

from graymw.clients.httpx_family import AsyncWrapping, Family, Wrapping
from graymw.clients.patching import Patches

_library: Final[Any] = importlib.import_module("httpx2")
_family = Family(_library)
_patches = Patches()


class GrayTransport(Wrapping, _library.BaseTransport):  # type: ignore[misc]
    """As ``graymw.GrayTransport``, for ``httpx2.Client``."""

    family = _family

    def __init__(self, transport: Any = None) -> None:
        super().__init__(_library.HTTPTransport() if transport is None else transport)


class AsyncGrayTransport(AsyncWrapping, _library.AsyncBaseTransport):  # type: ignore[misc]
    """As ``graymw.AsyncGrayTransport``, for ``httpx2.AsyncClient``."""

    family = _family

    def __init__(self, transport: Any = None) -> None:
        super().__init__(_library.AsyncHTTPTransport() if transport is None else transport)


def install() -> None:
    """Cover every client of the process."""
    _patches.replace(_library.Client, "_transport_for_url", _family.hops(_patches, GrayTransport))
    _patches.replace(_library.AsyncClient, "_transport_for_url", _family.hops(_patches, AsyncGrayTransport))
    _patches.active = True


def uninstall() -> None:
    """Give the clients back as they were."""
    _patches.restore()
