"""Trees without recursion."""

from __future__ import annotations

from graymw.core.folding import condition_parts, fold
from graymw.core.model import AllOf, AnyOf, Condition, Expression, Fact, Not
from graymw.core.model import Test as FactTest


def test_children_come_before_their_parent_and_in_order() -> None:
    tree = {"a": ["b", "c"], "b": ["d", "e"], "c": [], "d": [], "e": []}

    assert fold("a", tree.__getitem__, lambda node, below: f"({''.join(below)}{node})") == "(((d)(e)b)(c)a)"


def test_depth_is_no_matter() -> None:
    condition: Condition = Expression("true")
    for _ in range(100_000):
        condition = Not(condition)

    assert fold(condition, condition_parts, lambda node, below: sum(below) + 1) == 100_001


def test_the_parts_of_conditions() -> None:
    leaf = FactTest(Fact("user"), "exists", True)

    assert condition_parts(AllOf((leaf, leaf))) == (leaf, leaf)
    assert condition_parts(AnyOf((leaf,))) == (leaf,)
    assert condition_parts(Not(leaf)) == (leaf,)
    assert condition_parts(leaf) == ()
