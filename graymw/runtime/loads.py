"""Calls under way at each instance, for picking the one that has fewer."""

from __future__ import annotations

import os
from itertools import count
from typing import Final
from weakref import WeakSet

from graymw.core.instances import Instance

_numbers: Final = count()


class Ticket:
    """One call under way. It ends when it says so, or at the latest when nobody knows of it any more."""

    __slots__ = ("_active", "_number")

    def __init__(self, active: set[int]) -> None:
        self._active = active
        self._number = next(_numbers)
        active.add(self._number)

    def end(self) -> None:
        """The call is over; once is as good as twice."""
        self._active.discard(self._number)

    __del__ = end


class Loads:
    """Calls under way by instance. Thread-safe: sets of numbers instead of sums, so that no update is lost."""

    def __init__(self) -> None:
        self._active: dict[str, set[int]] = {}
        _known.add(self)

    def begin(self, instance: Instance) -> Ticket:
        """A call goes to an instance."""
        return Ticket(self._active.setdefault(instance.authority, set()))

    def of(self, instance: Instance) -> int:
        """Calls under way at an instance."""
        active = self._active.get(instance.authority)
        return len(active) if active else 0

    def reset(self) -> None:
        """Begin with no call under way: those of a parent process end there."""
        self._active = {}

    def forget_idle(self) -> None:
        """Forget instances without any call under way."""
        self._active = {authority: active for authority, active in list(self._active.items()) if active}


_known: Final[WeakSet[Loads]] = WeakSet()


def _after_fork_in_child() -> None:
    for loads in list(_known):
        loads.reset()


os.register_at_fork(after_in_child=_after_fork_in_child)
