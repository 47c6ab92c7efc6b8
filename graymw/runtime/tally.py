"""How often each of a few things happened, counted by every request."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

KeyT = TypeVar("KeyT", bound=Hashable)


class Tally(Generic[KeyT]):
    """Counts by key. Thread-safe; a forked process begins at zero, as it counts for itself."""

    def __init__(self) -> None:
        self._counts: dict[KeyT, int] = {}
        self._lock = threading.Lock()
        _tallies.add(self)

    def add(self, keys: Iterable[KeyT]) -> None:
        """Add one for each key. How many different keys there can be is the caller's to bound."""
        counts = self._counts
        with self._lock:
            for key in keys:
                counts[key] = counts.get(key, 0) + 1

    def snapshot(self) -> dict[KeyT, int]:
        """All counts now."""
        with self._lock:
            return dict(self._counts)

    def reset(self) -> None:
        """Begin at zero; another thread of the parent may have held the lock when it forked."""
        self._lock = threading.Lock()
        self._counts = {}


_tallies: WeakSet[Tally[Any]] = WeakSet()


def _after_fork_in_child() -> None:
    for tally in list(_tallies):
        tally.reset()


os.register_at_fork(after_in_child=_after_fork_in_child)
