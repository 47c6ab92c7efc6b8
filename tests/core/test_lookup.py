"""Reading facts."""

from __future__ import annotations

import pytest

from graymw.core.facts import RequestFacts
from graymw.core.lookup import fact_reader, map_reader
from graymw.core.model import Fact

FACTS = RequestFacts(headers={"a": "1"}, cookies={"b": "2"}, query={"c": "3"}, user="u", path="/p")


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        (Fact("header", "a"), "1"), (Fact("cookie", "b"), "2"), (Fact("query", "c"), "3"), (Fact("header", "b"), None),
        (Fact("user"), "u"), (Fact("path"), "/p"), (Fact("region"), None),
    ],
)  # fmt: skip
def test_facts(fact: Fact, value: str | None) -> None:
    assert fact_reader(fact)(FACTS) == value


def test_whole_maps() -> None:
    assert [map_reader(kind)(FACTS) for kind in ("header", "cookie", "query")] == [{"a": "1"}, {"b": "2"}, {"c": "3"}]


def test_time_is_no_fact_of_a_request() -> None:
    with pytest.raises(ValueError, match="clock"):
        fact_reader(Fact("time"))
