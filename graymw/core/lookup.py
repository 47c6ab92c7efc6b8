"""How each fact is read from a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Final

from graymw.core.facts import RequestFacts
from graymw.core.model import Fact

MAP_SLOTS: Final = {"header": "headers", "cookie": "cookies", "query": "query"}
"""Kind of a named fact to the slot of ``RequestFacts`` that holds all of its kind."""


def map_reader(kind: str) -> Callable[[RequestFacts], Mapping[str, str]]:
    """Function from a request to all its headers, cookies or query parameters."""
    return attrgetter(MAP_SLOTS[kind])


def fact_reader(fact: Fact) -> Callable[[RequestFacts], str | None]:
    """Function from a request to the text of ``fact``, None where it is absent. Time is no fact of a request."""
    if fact.kind == "time":
        raise ValueError("the time comes from the clock")
    if fact.kind not in MAP_SLOTS:
        return attrgetter(fact.kind)
    whole, name = map_reader(fact.kind), fact.name
    return lambda facts: whole(facts).get(name)
