"""Every client object of the process at once: which libraries are covered, and switching them on and off.

No library is imported for this. What the application has imported is patched now, what it imports later is patched
then; an adapter's own module is imported only together with its library.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from graymw.clients.containment import not_covered
from graymw.clients.import_hook import ImportHook

ADAPTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "aiohttp": "graymw.clients.aiohttp",
        "grpc": "graymw.clients.grpc",
        "httpx": "graymw.clients.httpx",
        "httpx2": "graymw.clients.httpx2",
        "requests": "graymw.clients.requests",
        "urllib3": "graymw.clients.urllib3",
    }
)
"""Adapter by library. An adapter has ``install()`` and ``uninstall()``, both idempotent."""

_lock: Final = threading.RLock()
_hook: ImportHook | None = None


def instrument() -> None:
    """Cover every client library, those that are imported later included. Once is as good as twice."""
    global _hook  # noqa: PLW0603 - one process, one set of patches
    with _lock:
        if _hook is None:
            _hook = ImportHook({library: partial(_install, library) for library in ADAPTERS})
            _hook.install()


def uninstrument() -> None:
    """Give every library back as it was."""
    global _hook  # noqa: PLW0603
    with _lock:
        if _hook is None:
            return
        _hook.remove()
        _hook = None
        for adapter in ADAPTERS.values():
            if adapter in sys.modules:
                sys.modules[adapter].uninstall()


def _install(library: str) -> None:
    try:
        importlib.import_module(ADAPTERS[library]).install()
    except Exception as error:  # noqa: BLE001 - a version of the library that we do not know must still be usable
        not_covered(library, error)
