"""Conditions looked at one by one, with what was found: for explaining, and where the fast path failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from graymw.core import cel, patterns, semver
from graymw.core.cel.evaluating import EvaluationError, LibraryError, Program, compile_program
from graymw.core.cel.tokens import ExpressionError
from graymw.core.facts import RequestFacts, decimal
from graymw.core.folding import condition_parts, fold
from graymw.core.lookup import fact_reader
from graymw.core.model import AllOf, AnyOf, Condition, Expression, Not, Test
from graymw.core.operators import in_networks, number, remainder


@dataclass(frozen=True, slots=True)
class Atom:
    """One test or expression, and what it came to for one request.

    Attributes:
        text: What was asked, ``header:x-beta exact 'true'``.
        holds: Whether it holds by itself; ``not`` around it is not counted in.
        actual: ``(name, value)`` of each fact it reads, the value None where absent.
        error: Why an expression failed, None where it did not.
    """

    text: str
    holds: bool
    actual: tuple[tuple[str, str | None], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a condition holds, and all its atoms in the written order."""

    holds: bool
    atoms: tuple[Atom, ...] = ()


def judge(condition: Condition | None, facts: RequestFacts, clock: Callable[[], float]) -> Judgement:
    """Look at every part of a condition, also where an earlier one has settled it. None always holds."""
    if condition is None:
        return Judgement(True)

    atoms: list[Atom] = []

    def combine(node: Condition, parts: list[bool]) -> bool:
        match node:
            case AllOf():
                return all(parts)
            case AnyOf():
                return any(parts)
            case Not():
                return not parts[0]
            case Test():
                atoms.append(_test(node, facts, clock))
            case Expression():
                atoms.append(_expression(node.source, facts))
        return atoms[-1].holds

    holds = fold(condition, condition_parts, combine)
    return Judgement(holds, tuple(atoms))


def _test(test: Test, facts: RequestFacts, clock: Callable[[], float]) -> Atom:
    text = f"{test.fact} {test.operator} {_shown(test.operand)}"
    if test.fact.kind == "time":
        now = clock()
        return Atom(text, _ordered(test.operator, now, cast("float", test.operand)), (("time", f"{now:.3f}"),))
    value = fact_reader(test.fact)(facts)
    actual = ((str(test.fact), value),)
    if test.operator == "exists":
        return Atom(text, (value is not None) == test.operand, actual)
    try:
        return Atom(text, value is not None and _holds(test, value), actual)
    except ValueError as exc:
        return Atom(text, False, actual, str(exc))


def _holds(test: Test, value: str) -> bool:  # noqa: PLR0911 - one case per operator
    operand = test.operand
    match test.operator:
        case "exact":
            return value == operand
        case "in":
            return value in cast("tuple[str, ...]", operand)
        case "prefix":
            return value.startswith(cast("str", operand))
        case "suffix":
            return value.endswith(cast("str", operand))
        case "contains":
            return cast("str", operand) in value
        case "regex":
            return patterns.compile_pattern(cast("str", operand))(value)
        case "semver":
            return semver.compile_range(cast("str", operand))(value)
        case "cidr":
            return in_networks(cast("tuple[str, ...]", operand))(value)
        case "mod":
            divisor, rest = cast("tuple[int, int]", operand)
            whole = decimal(value)
            return whole is not None and divisor != 0 and remainder(whole, divisor) == rest
        case _:
            plain = number(value)
            return plain is not None and _ordered(test.operator, plain, cast("float", operand))


def _ordered(operator: str, value: float, bound: float) -> bool:
    match operator:
        case "gt":
            return value > bound
        case "ge":
            return value >= bound
        case "lt":
            return value < bound
        case _:
            return operator == "le" and value <= bound


def _shown(operand: object) -> str:
    if isinstance(operand, tuple):
        return "[" + ", ".join(map(_shown, operand)) + "]"
    return repr(operand) if isinstance(operand, str) else str(operand).lower()


def _expression(source: str, facts: RequestFacts) -> Atom:
    program = _program(source)
    if isinstance(program, str):
        return Atom(source, False, error=program)
    actual = tuple((str(fact), fact_reader(fact)(facts)) for fact in sorted(program.facts, key=str))
    try:
        return Atom(source, program.evaluate(facts), actual)
    except EvaluationError as exc:
        return Atom(source, False, actual, str(exc))


@lru_cache(maxsize=512)
def _program(source: str) -> Program | str:
    """The expression in the library, never lowered; the problem where it is refused."""
    try:
        return compile_program(source, cel.accepted(source).node)
    except (ExpressionError, LibraryError) as exc:
        return str(exc)
