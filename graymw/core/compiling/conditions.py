"""Conditions of the model to logic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from graymw.core import cel, patterns, semver
from graymw.core.cel.evaluating import EvaluationError, LibraryError, compile_program
from graymw.core.cel.lowering import lower
from graymw.core.cel.tokens import ExpressionError
from graymw.core.facts import RequestFacts
from graymw.core.folding import condition_parts, fold
from graymw.core.logic import (
    ALWAYS,
    NEVER,
    Applies,
    Calls,
    Compare,
    Comparison,
    Logic,
    Notes,
    Operand,
    Remainder,
    Text,
    TextTest,
    absent,
    all_of,
    any_of,
    negated,
    present,
)
from graymw.core.model import AllOf, AnyOf, Condition, Expression, Not, Test
from graymw.core.operators import in_networks

Note = Callable[[BaseException], object]
"""Told of an expression that failed for a request."""

_ORDER: Final[dict[str, Comparison]] = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_PIECES: Final[dict[str, TextTest]] = {"prefix": "startswith", "suffix": "endswith", "contains": "contains"}


def condition_logic(condition: Condition | None, note: Note) -> Logic:
    """Logic of a rule's condition; None always holds. Depth does not matter."""
    if condition is None:
        return ALWAYS

    def combine(node: Condition, parts: list[Logic]) -> Logic:
        match node:
            case AllOf():
                return all_of(parts)
            case AnyOf():
                return any_of(parts)
            case Not():
                return negated(parts[0])
            case Expression(source=source):
                return expression_logic(source, note)
            case Test():
                return _contained(node, note)

    return fold(condition, condition_parts, combine)


def expression_logic(source: str, note: Note) -> Logic:
    """Logic of a CEL expression; one that ``check`` refuses never holds and is noted each time."""
    try:
        resolved = cel.accepted(source)
        missing = EvaluationError("a value that the expression reads is missing or of another type")
        lowered = lower(resolved.node, lambda: note(missing))
        if lowered is not None:
            return lowered
        program = compile_program(source, resolved.node)
    except (ExpressionError, LibraryError) as exc:
        refused = exc
        return Notes(lambda: note(refused))
    evaluate = program.evaluate

    def holds(facts: RequestFacts) -> bool:
        try:
            return evaluate(facts)
        except EvaluationError as exc:
            note(exc)
            return False

    return Calls(holds, program.facts, program.maps)


def _contained(check: Test, note: Note) -> Logic:
    """A test that ``check`` would have refused never holds and is noted each time."""
    try:
        return check_logic(check)
    except ValueError as exc:
        refused = exc
        return Notes(lambda: note(refused))


def check_logic(check: Test) -> Logic:  # noqa: PLR0911 - one case per operator
    """Logic of one test of ``match``.

    Raises:
        ValueError: The pattern, range or network is none.
    """
    fact, operator, operand = check.fact, check.operator, check.operand
    text = Operand(fact)
    match operator:
        case "exact":
            return Compare(text, "==", cast("str", operand))
        case "in":
            return Compare(text, "in", frozenset(cast("tuple[str, ...]", operand)))
        case "prefix" | "suffix" | "contains":
            return Text(text, _PIECES[operator], cast("str", operand))
        case "exists":
            return present(text) if operand else absent(text)
        case "gt" | "ge" | "lt" | "le":
            return Compare(Operand(fact, "number"), _ORDER[operator], cast("float", operand))
        case "mod":
            return _remainder(Operand(fact, "integer"), cast("tuple[int, int]", operand))
        case "regex":
            return Applies(text, patterns.compile_pattern(cast("str", operand)))
        case "semver":
            return Applies(text, semver.compile_range(cast("str", operand)))
        case "cidr":
            return Applies(text, in_networks(cast("tuple[str, ...]", operand)))


def _remainder(operand: Operand, wanted: tuple[int, int]) -> Logic:
    """The sign of the divisor does not matter to a remainder that has the sign of the dividend."""
    divisor, value = wanted
    return Remainder(operand, abs(divisor), "==", value) if divisor else NEVER
