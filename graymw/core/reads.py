"""What facts a rule document reads, so that adapters extract those and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graymw.core.logic import Applies, Calls, Compare, Logic, Present, Remainder, Text, logic_parts
from graymw.core.model import Fact, StickyKey


@dataclass(frozen=True, slots=True)
class Reads:
    """Facts that deciding may read.

    Attributes:
        headers: Names in lower case; likewise ``cookies`` and ``query``, as written.
        all_headers: An expression uses the map as a whole; likewise ``all_cookies`` and ``all_query``.
        facts: The plain facts: ``method``, ``path``, ``host``, ``user``, ``region``, ``device``, ``ip``.
    """

    headers: frozenset[str] = frozenset()
    cookies: frozenset[str] = frozenset()
    query: frozenset[str] = frozenset()
    all_headers: bool = False
    all_cookies: bool = False
    all_query: bool = False
    facts: frozenset[str] = frozenset()

    @property
    def method(self) -> bool:
        """Whether the method is read."""
        return "method" in self.facts

    @property
    def path(self) -> bool:
        """Whether the path is read."""
        return "path" in self.facts

    @property
    def host(self) -> bool:
        """Whether the host is read."""
        return "host" in self.facts

    @property
    def user(self) -> bool:
        """Whether the user is read, ``uid`` included."""
        return "user" in self.facts

    @property
    def region(self) -> bool:
        """Whether the region is read."""
        return "region" in self.facts

    @property
    def device(self) -> bool:
        """Whether the kind of device is read."""
        return "device" in self.facts

    @property
    def ip(self) -> bool:
        """Whether the client's address is read."""
        return "ip" in self.facts


def reads_of(facts: Iterable[Fact], maps: Iterable[str]) -> Reads:
    """What single ``facts`` and whole ``maps`` (``header``, ``cookie``, ``query``) add up to."""
    names: dict[str, set[str]] = {"header": set(), "cookie": set(), "query": set()}
    plain: set[str] = set()
    for fact in facts:
        if fact.kind in names:
            names[fact.kind].add(fact.name)
        elif fact.kind != "time":
            plain.add(fact.kind)
    whole = frozenset(maps)
    return Reads(
        headers=frozenset(names["header"]),
        cookies=frozenset(names["cookie"]),
        query=frozenset(names["query"]),
        all_headers="header" in whole,
        all_cookies="cookie" in whole,
        all_query="query" in whole,
        facts=frozenset(plain),
    )


def logic_reads(logics: Iterable[Logic], sticky: Iterable[StickyKey]) -> tuple[set[Fact], set[str]]:
    """Single facts and whole maps that conditions and sticky keys read."""
    facts = {key.fact for key in sticky}
    maps: set[str] = set()
    pending = list(logics)
    while pending:
        logic = pending.pop()
        pending.extend(logic_parts(logic))
        if isinstance(logic, Calls):
            facts |= logic.facts
            maps |= logic.maps
        elif isinstance(logic, (Present, Compare, Remainder, Text, Applies)):
            facts.add(logic.operand.fact)
    return facts, maps
