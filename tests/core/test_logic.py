"""Logic simplifies while it is built, and keeps its meaning."""

from __future__ import annotations

from graymw.core.logic import ALWAYS, NEVER, Every, Operand, Present, Some, absent, all_of, any_of, negated, present
from graymw.core.model import Fact

A, B, C = (Present(Operand(Fact("header", name))) for name in "abc")


def test_neutral_parts_fall_away() -> None:
    assert all_of([ALWAYS, A, ALWAYS]) == A
    assert any_of([NEVER, A]) == A
    assert all_of([]) == ALWAYS
    assert any_of([]) == NEVER


def test_nothing_is_looked_at_after_what_settles_it() -> None:
    assert all_of([NEVER, A]) == NEVER
    assert any_of([ALWAYS, A]) == ALWAYS
    assert all_of([A, NEVER, B]) == Every((A, NEVER))


def test_what_comes_before_is_kept_because_it_may_be_noted() -> None:
    assert any_of([A, ALWAYS, B]) == Some((A, ALWAYS))


def test_chains_are_flattened() -> None:
    assert all_of([all_of([A, B]), C]) == Every((A, B, C))
    assert any_of([A, any_of([B, C])]) == Some((A, B, C))
    assert all_of([any_of([A, B]), C]) == Every((Some((A, B)), C))


def test_two_negations_are_none() -> None:
    assert negated(negated(A)) == A
    assert negated(ALWAYS) == NEVER


def test_some_facts_are_always_there() -> None:
    for kind in ("method", "path", "host", "time"):
        assert present(Operand(Fact(kind))) == ALWAYS
        assert absent(Operand(Fact(kind))) == NEVER
    assert present(Operand(Fact("user"))) == Present(Operand(Fact("user")))
    assert present(Operand(Fact("path"), "integer")) != ALWAYS
