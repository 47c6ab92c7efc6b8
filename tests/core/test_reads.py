"""What a document reads."""

from __future__ import annotations

from graymw.core.logic import Calls, Operand, Present, all_of, negated
from graymw.core.model import Fact, StickyKey
from graymw.core.reads import Reads, logic_reads, reads_of


def test_facts_are_sorted_by_kind_and_time_is_none() -> None:
    facts = [Fact("header", "a"), Fact("cookie", "b"), Fact("query", "c"), Fact("user"), Fact("time")]

    assert reads_of(facts, ["cookie"]) == Reads(
        headers=frozenset("a"),
        cookies=frozenset("b"),
        query=frozenset("c"),
        all_cookies=True,
        facts=frozenset({"user"}),
    )


def test_every_part_of_a_condition_counts_and_so_do_sticky_keys() -> None:
    logic = all_of([
        negated(Present(Operand(Fact("region"), "number"))),
        Calls(lambda facts: True, frozenset({Fact("ip")}), frozenset({"query"})),
    ])  # fmt: skip

    assert logic_reads([logic], [StickyKey(Fact("user"))]) == ({Fact("region"), Fact("ip"), Fact("user")}, {"query"})
