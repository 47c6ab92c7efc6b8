"""How often something may be asked for again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Pace:
    """A token bucket: some steps at once, then only so many a second.

    A long poll returns at once whenever something has changed, so a backend under change would be asked in a busy loop.

    Args:
        burst: Steps that may be taken without a wait.
        per_second: Steps that are allowed again each second.
        clock: Seconds that only grow.
    """

    def __init__(self, burst: int, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._clock = clock
        self._left = self._burst
        self._at = clock()

    def due(self) -> float:
        """Take one step: seconds to wait before it."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second) - 1
        self._at = now
        return max(0.0, -self._left / self._per_second)

    async def step(self) -> None:
        """Take one step, after the wait it needs."""
        wait = self.due()
        if wait:
            await asyncio.sleep(wait)
