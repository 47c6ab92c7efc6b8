"""How many calls may be tried once more: a share of all, so that a failing service does not get twice the load.

As the retry budgets of Finagle and Linkerd: retries of the last ten seconds may be at most a share of the calls of the
last ten seconds, plus a few each second for those who make few calls.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final, NamedTuple
from weakref import WeakSet

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
    """Counts calls, and says whether one more retry may be made. Thread-safe.

    Calls are only counted; how many of them were within the window is worked out when a retry is asked for, from
    samples taken at such moments, in between as if calls came evenly.

    Args:
        share: Of all calls, in steps of 0.01 %; 0: no retries at all.
        clock: Seconds, monotonic.

    Attributes:
        share: As above; it may be set at any time.
    """

    def __init__(self, share: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.share = share
        self._clock = clock
        self._calls = count()
        self.call: Callable[[], object] = self._calls.__next__
        """Call it once for each call that could be retried."""
        self._asked = 0
        self._retries = 0
        self._lock = threading.Lock()
        _budgets.add(self)
        self._samples: deque[_Sample] = deque([_Sample(clock(), 0, 0)])

    def take(self) -> bool:
        """Whether one more retry may be made now; then it counts as made."""
        share = self.share
        if not share:
            return False
        with self._lock:
            now = self._clock()
            calls = self._counted()
            samples = self._samples
            self._move_on(now, calls)
            recent = calls - samples[0].calls
            made = self._retries - samples[0].retries
            if now - samples[-1].moment >= _SAMPLED:
                samples.append(_Sample(now, calls, self._retries))
            if made + 1 > recent * share / SHARE_SCALE + SPARE * WINDOW:
                return False
            self._retries += 1
            return True

    def _move_on(self, now: float, calls: int) -> None:
        """Let the samples begin where the window does. Retries were made next to a sample, calls evenly in between."""
        samples, begin = self._samples, now - WINDOW
        while len(samples) > 1 and samples[1].moment <= begin:
            samples.popleft()
        first = samples[0]
        if first.moment < begin:
            after = samples[1] if len(samples) > 1 else _Sample(now, calls, self._retries)
            gone = (begin - first.moment) / (after.moment - first.moment)
            samples[0] = _Sample(begin, first.calls + round((after.calls - first.calls) * gone), after.retries)

    def give_back(self) -> None:
        """A retry that was taken was not made."""
        with self._lock:
            self._retries -= 1

    def unlock(self) -> None:
        """Another thread of the parent may have held the lock when it forked."""
        self._lock = threading.Lock()

    def _counted(self) -> int:
        """Calls so far; asking advances the counter as well."""
        self._asked += 1
        return next(self._calls) - self._asked + 1


_budgets: WeakSet[RetryBudget] = WeakSet()


def _after_fork_in_child() -> None:
    for budget in list(_budgets):
        budget.unlock()


os.register_at_fork(after_in_child=_after_fork_in_child)
