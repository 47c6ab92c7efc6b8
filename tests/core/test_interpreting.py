"""Conditions looked at part by part."""

from __future__ import annotations

import pytest

from graymw.core.facts import RequestFacts
from graymw.core.interpreting import judge
from graymw.core.model import AllOf, AnyOf, Expression, Fact, Not
from graymw.core.model import Test as FactTest


def clock() -> float:
    return 100.0


def test_all_atoms_are_told_also_those_that_do_not_matter() -> None:
    condition = AllOf((
        FactTest(Fact("user"), "exact", "bob"),
        AnyOf((FactTest(Fact("region"), "in", ("eu", "uk")), Not(FactTest(Fact("device"), "exists", True)))),
        FactTest(Fact("time"), "ge", 99.5),
    ))  # fmt: skip
    found = judge(condition, RequestFacts(user="alice", region="eu"), clock)

    assert not found.holds
    assert [(atom.text, atom.holds, atom.actual) for atom in found.atoms] == [
        ("user exact 'bob'", False, (("user", "alice"),)),
        ("region in ['eu', 'uk']", True, (("region", "eu"),)),
        ("device exists true", False, (("device", None),)),
        ("time ge 99.5", True, (("time", "100.000"),)),
    ]


def test_an_expression_tells_the_facts_it_reads_and_its_error() -> None:
    (atom,) = judge(Expression("uid % 10 == 0"), RequestFacts(user="bob"), clock).atoms

    assert (atom.text, atom.holds, atom.actual) == ("uid % 10 == 0", False, (("user", "bob"),))
    assert atom.error


@pytest.mark.parametrize(
    "condition",
    [
        Expression("unknown == 1"),
        Expression("("),
        FactTest(Fact("user"), "regex", "("),
        FactTest(Fact("user"), "cidr", ("x",)),
    ],
)
def test_what_check_would_refuse_does_not_hold(condition: Expression | FactTest) -> None:
    found = judge(condition, RequestFacts(user="a"), clock)

    assert not found.holds
    assert found.atoms[0].error


def test_no_condition_always_holds() -> None:
    assert judge(None, RequestFacts(), clock).holds
