"""Calling back when a module has been imported, so that nobody's library is imported for our sake."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any


class ImportHook(importlib.abc.MetaPathFinder):
    """A finder (PEP 451) that finds nothing itself: it lets the others find, and watches the module being executed.

    Args:
        callbacks: By absolute module name. Each is called once, after the module was executed, on the thread that
            imports it. What it raises is raised out of the import, so it must contain its own faults.
    """

    def __init__(self, callbacks: Mapping[str, Callable[[], object]]) -> None:
        self._pending = dict(callbacks)
        self._local = threading.local()

    def install(self) -> None:
        """Call back at once for what is imported already, later for the rest."""
        for name in [name for name in self._pending if sys.modules.get(name) is not None]:
            callback = self._pending.pop(name)
            try:
                importlib.import_module(name)  # waits for a thread that is importing it just now
            except ImportError:
                continue  # it failed there, so nobody has it
            callback()
        if self._pending and self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Call nobody any more."""
        self._pending.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the signature is importlib's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec the other finders give, its loader watched; None for modules nobody waits for."""
        if fullname not in self._pending or getattr(self._local, "asking", False):
            return None
        self._local.asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._local.asking = False
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _WatchedLoader(spec.loader, self)
        return spec

    def executed(self, name: str) -> None:
        """A module that was waited for is there."""
        callback = self._pending.pop(name, None)
        if callback is not None:
            callback()


class _WatchedLoader(importlib.abc.Loader):
    """Stands in for a loader until the module is executed, then leaves no trace in the module."""

    def __init__(self, loader: Any, hook: ImportHook) -> None:
        self._loader = loader
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the loader does."""
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """As the loader does, then the callback."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._hook.executed(module.__name__)
