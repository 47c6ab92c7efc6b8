"""httpx2, which has httpx's interface: every client of the process.

The transports of ``graymw.clients.httpx`` serve here, too, since a client asks of a transport only its methods.
"""

from __future__ import annotations

import importlib
from typing import Final

from graymw.clients.httpx_family import Family
from graymw.clients.patching import Patches

_library: Final = importlib.import_module("httpx2")
_family = Family(_library)
_patches = Patches()


def install() -> None:
    """Cover every client of the process."""
    for client in (_library.Client, _library.AsyncClient):
        _patches.replace(client, "_transport_for_url", _family.hops(_patches, ()))
    _patches.active = True


def uninstall() -> None:
    """Give the clients back as they were."""
    _patches.restore()
