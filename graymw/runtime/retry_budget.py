"""How many calls may be tried once more: a share of all, so that a failing service does not get twice the load.

As the retry budgets of Finagle and Linkerd: retries of the last ten seconds may be at most a share of the calls of the
last ten seconds, plus a few each second for those who make few calls.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final, NamedTuple

from graymw.core.model import SHARE_SCALE

WINDOW: Final = 10.0
"""Seconds that count."""

SPARE: Final = 10
"""Retries each second that any process may make, as in Finagle."""

_SAMPLED: Final = 0.25


class _Sample(NamedTuple):
    moment: float
    calls: int
    retries: int


class RetryBudget:
    """Counts calls, and says whether one more retry may be made. Thread-safe to within a retry or two.

    Calls are only counted; how many of them were within the window is worked out when a retry is asked for, from
    samples taken at such moments, in between as if calls came evenly.

    Args:
        share: Of all calls, in steps of 0.01 %; 0: no retries at all.
        clock: Seconds, monotonic.
    """

    def __init__(self, share: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._calls = count()
        self.call: Callable[[], object] = self._calls.__next__
        """Call it once for each call that could be retried."""
        self._asked = 0
        self._retries = 0
        self._samples: deque[_Sample] = deque([_Sample(clock(), 0, 0)])

    def take(self) -> bool:
        """Whether one more retry may be made now; then it counts as made."""
        if not self._share:
            return False
        now = self._clock()
        calls = self._counted()
        samples = self._samples
        while len(samples) > 1 and now - samples[1].moment >= WINDOW:
            samples.popleft()
        oldest = samples[0]
        within = min(1.0, WINDOW / max(now - oldest.moment, 1e-9))
        recent = (calls - oldest.calls) * within
        made = (self._retries - oldest.retries) * within
        if now - samples[-1].moment >= _SAMPLED:
            samples.append(_Sample(now, calls, self._retries))
        if made + 1 > recent * self._share / SHARE_SCALE + SPARE * WINDOW:
            return False
        self._retries += 1
        return True

    def give_back(self) -> None:
        """The retry that was taken last was not made."""
        self._retries -= 1

    def _counted(self) -> int:
        """Calls so far; asking advances the counter as well."""
        self._asked += 1
        return next(self._calls) - self._asked + 1
