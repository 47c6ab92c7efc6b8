"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

STEADY_SECONDS: Final = 1.0
"""What went well for less than this may fail again and again."""


class Backoff:
    """Growing waits with jitter, so that many processes do not come back to a backend at the same moment.

    Args:
        first: Upper bound of the first wait, in seconds.
        cap: Upper bound of every wait, in seconds.
        entropy: A number in [0, 1); each wait is its bound times a factor between one half and one.
    """

    def __init__(self, first: float = 0.1, cap: float = 30.0, *, entropy: Callable[[], float] = random.random) -> None:
        self._first = first
        self._cap = cap
        self._entropy = entropy
        self._bound = first

    def next(self) -> float:
        """Seconds to wait now; the next wait is up to twice as long."""
        bound = min(self._bound, self._cap)
        self._bound = min(self._bound * 2, self._cap)
        return bound * (0.5 + self._entropy() / 2)

    def went_well(self, seconds: float) -> None:
        """Something went well for so long, then failed: the waits grow anew, or do not grow beyond a second."""
        if seconds >= STEADY_SECONDS:
            self.reset()
        else:
            self._bound = min(self._bound, STEADY_SECONDS)

    def reset(self) -> None:
        """Begin with the first wait again: an attempt went well."""
        self._bound = self._first
