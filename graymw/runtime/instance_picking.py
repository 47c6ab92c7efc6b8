"""Which instance takes a call: candidates by the decision, then turn by turn by weight."""

from __future__ import annotations

import itertools
from typing import Final
from weakref import WeakKeyDictionary

from graymw.core.context import GrayContext
from graymw.core.instances import Candidates, Instance, InstanceTable, Picker, UsedFallback, select
from graymw.core.model import RuleDocument
from graymw.errors import GrayUnavailableError
from graymw.runtime.ports import Instances

_NO_RELEASE_FALLBACK: Final = "stable"


class TurnPicker:
    """Weighted round robin: a counter for each set of candidates, over their interleaved turns. Thread-safe."""

    def __init__(self) -> None:
        self._counters: WeakKeyDictionary[Candidates, itertools.count[int]] = WeakKeyDictionary()

    def pick(self, candidates: Candidates) -> Instance | None:
        """The one whose turn it is; None of nobody."""
        turns = candidates.turns
        if not turns:
            return None
        counter = self._counters.get(candidates)
        if counter is None:
            counter = self._counters.setdefault(candidates, itertools.count())
        return turns[next(counter) % len(turns)]


class InstanceDirectory:
    """Instances of all known services, and the choice among them.

    Args:
        source: Who knows them; a new tuple from it means that they changed.
        picker: Chooses among those that may take a call.
    """

    def __init__(self, source: Instances, picker: Picker | None = None) -> None:
        self._source = source
        self._tables: dict[str, tuple[tuple[Instance, ...], InstanceTable]] = {}
        self._picker: Picker = picker or TurnPicker()

    def table(self, service: str) -> InstanceTable | None:
        """Table of a service as it is now; None where the service is not known here."""
        instances = self._source.instances(service)
        if instances is None:
            return None
        known = self._tables.get(service)
        if known is not None and known[0] is instances:
            return known[1]
        table = InstanceTable(instances)
        self._tables[service] = (instances, table)
        return table

    def choose(
        self, document: RuleDocument, service: str, gray: GrayContext
    ) -> tuple[Instance | None, UsedFallback | None]:
        """Instance for one call, and the fallback that led to it.

        Returns:
            ``(None, None)`` where the service is not known here: the call goes as addressed.

        Raises:
            GrayUnavailableError: No instance may take the call.
        """
        name = service.lower()
        table = self.table(name)
        if table is None:
            return None, None
        release = document.governing(name)
        decision = gray.decisions.get(release.name) if release is not None else None
        version = decision.version if decision is not None else None
        selection = select(
            table,
            release.label(name, version) if release is not None and version is not None else None,
            release.label(name, release.stable) if release is not None else None,
            release.fallback if release is not None else _NO_RELEASE_FALLBACK,
            gray=release is not None and version is not None and version != release.stable,
        )
        instance = self._picker.pick(selection.candidates)
        if instance is None:
            raise GrayUnavailableError(service, version, release.name if release is not None else None)
        return instance, selection.fallback
