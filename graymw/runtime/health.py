"""Passive ejection: an instance that fails takes no calls for a while (as Envoy's outlier detection).

Calls tell how they fared; nothing is probed. An instance that nobody listens at is out at once, one that breaks off
connections or answers 502, 503 or 504 after several times in a row. Once its time is over, one call tries it while the
others still pass it by. A process in which all is well pays one look at an empty mapping.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from graymw.core.instances import Instance
from graymw.runtime import counters
from graymw.runtime.first_times import FirstTimes

log = logging.getLogger("graymw.health")

Failure: TypeAlias = Literal["refused", "unanswered", "broken"]
"""How a call failed at its instance. ``refused``: nobody listens, or there is no way to it, told at once;
``unanswered``: no connection in time; ``broken``: the connection was there and broke off before a response."""

FAILURES_IN_A_ROW: Final[Mapping[str, int]] = MappingProxyType(
    {"refused": 1, "unanswered": 1, "broken": 5, "answer": 5}
)
"""How often in a row each kind of failure may not come."""

SHORTEST: Final = 5.0
"""Seconds of the first ejection; each further one takes twice as long."""

LONGEST: Final = 300.0
"""Seconds of an ejection, at most."""

JITTER: Final = 0.2
"""Share by which an ejection may last longer, so that many callers do not come back at once."""

PROBE: Final = 5.0
"""Seconds for which the one call that tries an instance anew has it to itself, unless it ends before."""

_OVERLOADED: Final = frozenset({502, 503, 504})
_ABSENT: Final = frozenset({"refused", "unanswered"})


def is_overloaded(status: int) -> bool:
    """Whether an HTTP status code says that an instance could not serve a call (RFC 9110, §15.6.3 to §15.6.5)."""
    return status in _OVERLOADED


@dataclass(frozen=True, slots=True)
class Record:
    """What is held against one instance.

    Attributes:
        instance: As the registry described it then.
        failures: In a row, now.
        times: Ejections so far, less those forgiven since.
        until: When it may be tried again; 0 where it is not out.
        absent: Nobody listened, when it was ejected.
        suspect: No call has succeeded since it was ejected.
        probed: One call is trying it.
        forgiven: When an ejection was last forgiven.
    """

    instance: Instance
    failures: int = 0
    times: int = 0
    until: float = 0.0
    absent: bool = False
    suspect: bool = False
    probed: bool = False
    forgiven: float = 0.0


class Health:
    """How the instances fare that this process calls. Thread-safe: each change replaces one value.

    Args:
        clock: Seconds, monotonic.
        chance: A random number in [0, 1).

    Attributes:
        records: By authority, the instances that anything is held against; usually none.
        epoch: Another object after each change of who is out.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, chance: Callable[[], float] = random.random
    ) -> None:
        self.clock = clock
        self._chance = chance
        self._first_time = FirstTimes()
        self.records: dict[str, Record] = {}
        self.epoch = object()

    def failed(self, instance: Instance, failure: Failure) -> bool:
        """A call failed at an instance.

        Returns:
            Whether the instance is out for it, from now on.
        """
        return self._count(instance, failure)

    def answered(self, instance: Instance, *, overloaded: bool) -> None:
        """An instance answered a call.

        Args:
            overloaded: In words that say that it could not serve it.
        """
        if overloaded:
            self._count(instance, "answer")
        else:
            self._forgive(instance)

    def begin(self, instance: Instance) -> None:
        """A call goes to an instance. Where its time out is just over, this call tries it and others pass it by."""
        record = self.records.get(instance.authority)
        if record is None or not record.suspect:
            return
        now = self.clock()
        if record.until <= now:
            self.records[instance.authority] = replace(record, until=now + PROBE, probed=True)
            self.epoch = object()

    def out(self, members: frozenset[str]) -> tuple[frozenset[str], float]:
        """Who of some candidates is to be passed by.

        Those that nobody listens at, all of them if need be. Of the others at most as many as leave half of the
        candidates in: so many failures may as well come from something that all of them share.

        Args:
            members: Authorities of the candidates.

        Returns:
            Authorities, and until when that holds where nothing else happens.
        """
        now = self.clock()
        held = [
            record
            for record in list(self.records.values())
            if record.until > now and record.instance.authority in members
        ]
        if not held:
            return frozenset(), math.inf
        absent = [record for record in held if record.absent]
        failing = sorted((record for record in held if not record.absent), key=lambda record: -record.until)
        room = max(len(members) // 2 - len(absent), 0)
        passed = frozenset(record.instance.authority for record in (*absent, *failing[:room]))
        return passed, min(record.until for record in held)

    def reconcile(self, before: Iterable[Instance], now: Iterable[Instance]) -> None:
        """Forget what is held against instances of a service that the registry now describes otherwise, or no more."""
        if not self.records:
            return
        known = {instance.authority: instance for instance in now}
        for instance in before:
            record = self.records.get(instance.authority)
            if record is not None and known.get(instance.authority) != record.instance:
                self.records.pop(instance.authority, None)
                self.epoch = object()

    def _count(self, instance: Instance, kind: str) -> bool:
        record = self.records.get(instance.authority) or Record(instance)
        now = self.clock()
        if record.suspect and record.until > now and not record.probed:
            return False  # a call that was under way when the instance was ejected
        failures = record.failures + 1
        if record.suspect or failures >= FAILURES_IN_A_ROW[kind]:
            self._eject(record, now, absent=kind in _ABSENT)
            return True
        self.records[instance.authority] = replace(record, failures=failures)
        return False

    def _eject(self, record: Record, now: float, *, absent: bool) -> None:
        instance = record.instance
        seconds = min(SHORTEST * 2.0 ** min(record.times, 16), LONGEST) * (1 + JITTER * self._chance())
        self.records[instance.authority] = Record(
            instance, times=record.times + 1, until=now + seconds, absent=absent, suspect=True
        )
        self.epoch = object()
        counters.count("ejected")
        if not self._first_time(f"{instance.service}:{instance.authority}"):
            return
        log.warning(
            "instance %s of %s (%s) is passed by for %.0f s where others can serve: %s; later ones are only counted",
            instance.authority,
            instance.service,
            instance.version or "no version",
            seconds,
            "no connection to it" if absent else "it failed again and again",
        )

    def _forgive(self, instance: Instance) -> None:
        """A success ends an ejection at once, and makes up for one ejection each ``SHORTEST`` seconds."""
        record = self.records.get(instance.authority)
        if record is None:
            return
        now = self.clock()
        times, forgiven = record.times, record.forgiven
        if record.suspect:
            forgiven = now
        elif times and now - forgiven >= SHORTEST:
            times, forgiven = times - 1, now
        if times:
            self.records[instance.authority] = Record(instance, times=times, forgiven=forgiven)
        else:
            self.records.pop(instance.authority, None)
        if record.suspect:
            self.epoch = object()
