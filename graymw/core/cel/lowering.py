"""The simple expressions as native logic, with exactly CEL's results.

An expression is true, false or an error, and ``&&`` and ``||`` absorb errors, so each node becomes three conditions
of which one holds. What is not certain to mean the same here is left to the library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from graymw.core.cel.syntax import Attribute, Binary, Call, Listing, Literal, Logical, Node, Presence, Unary, walk
from graymw.core.facts import decimal
from graymw.core.logic import (
    ALWAYS,
    NEVER,
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

# Falsity and error of a node repeat its operands: beyond this the library is the cheaper one.
_MAX_NODES: Final = 128
_MIRRORED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPPOSITE: Final = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<", "in": "not in"}
_TEXT_TESTS: Final[dict[str, TextTest]] = {
    "startsWith": "startswith", "endsWith": "endswith", "contains": "contains",
}  # fmt: skip


class _NotLoweredError(Exception):
    """The shape is left to the library."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """When an expression is true, when false and when an error."""

    true: Logic
    false: Logic
    error: Logic


def lower(node: Node, on_error: Callable[[], Any]) -> Logic | None:
    """Condition under which the expression is true, None for a shape that is left to the library.

    The condition calls ``on_error`` where the expression is an error.
    """
    if len(walk(node)) > _MAX_NODES:
        return None
    try:
        outcome = _lower(node)
    except _NotLoweredError:
        return None
    return any_of([outcome.true, all_of([_error_unless_true(node, outcome), Notes(on_error)])])


def lowerable(node: Node) -> bool:
    """Whether the expression needs no library."""
    return lower(node, lambda: None) is not None


def _error_unless_true(node: Node, outcome: Outcome) -> Logic:
    """The error condition where truth is already known not to hold."""
    if isinstance(node, Logical) and node.operator == "||":
        return any_of(_distinct([_lower(operand).error for operand in node.operands]))
    return outcome.error


def _lower(node: Node) -> Outcome:  # noqa: PLR0911 - one case per shape
    match node:
        case Logical(operator="&&"):
            return _conjunction([_lower(operand) for operand in node.operands])
        case Logical():
            return _swapped(_conjunction([_swapped(_lower(operand)) for operand in node.operands]))
        case Unary(operator="!"):
            return _swapped(_lower(node.operand))
        case Literal(kind="bool", value=value):
            return Outcome(ALWAYS, NEVER, NEVER) if value else Outcome(NEVER, ALWAYS, NEVER)
        case Presence(fact=fact):
            there = present(Operand(fact))
            return Outcome(there, negated(there), NEVER)
        case Binary():
            return _relation(node)
        case Call(target=Attribute(number=False) as attribute, arguments=(Literal(kind="string", value=piece),)):
            return _text_test(attribute, node.function, cast("str", piece))
        case _:
            raise _NotLoweredError


def _swapped(outcome: Outcome) -> Outcome:
    return Outcome(outcome.false, outcome.true, outcome.error)


def _conjunction(outcomes: list[Outcome]) -> Outcome:
    """True where all are; false where one is, whatever the others; else an error."""
    false = any_of(outcome.false for outcome in outcomes)
    errors = any_of(_distinct([outcome.error for outcome in outcomes]))
    return Outcome(all_of(outcome.true for outcome in outcomes), false, all_of([errors, negated(false)]))


def _distinct(parts: list[Logic]) -> list[Logic]:
    kept: list[Logic] = []
    for part in parts:
        if part not in kept:
            kept.append(part)
    return kept


def _relation(node: Binary) -> Outcome:
    operator, left, right = node.operator, node.left, node.right
    if operator == "in":
        return _member(left, right)
    if operator not in _MIRRORED:
        raise _NotLoweredError
    if isinstance(left, Literal):
        operator, left, right = _MIRRORED[operator], right, left
    constant = _constant(right)
    match left:
        case Attribute(number=False) if isinstance(constant, str):
            return _compared(Operand(left.fact), operator, constant)
        case Attribute(number=True):
            return _number_or_text(left, operator, constant)
        case Binary(operator="%") if isinstance(constant, int):
            return _remainder(left, cast("Comparison", operator), constant)
        case _:
            raise _NotLoweredError


def _compared(operand: Operand, operator: str, value: str | int | frozenset[str]) -> Outcome:
    comparison = cast("Comparison", operator)
    opposite = cast("Comparison", _OPPOSITE[operator])
    return _judged(operand, Compare(operand, comparison, value), Compare(operand, opposite, value))


def _judged(operand: Operand, holds: Logic, fails: Logic) -> Outcome:
    return Outcome(holds, fails, absent(operand))


def _number_or_text(attribute: Attribute, operator: str, constant: str | int) -> Outcome:
    """``uid`` is an int for a plain decimal, else text: unlike types are unequal, and have no order."""
    text, integer = Operand(attribute.fact), Operand(attribute.fact, "integer")
    if isinstance(constant, int):
        if operator not in {"==", "!="}:
            return _compared(integer, operator, constant)
        return _equal(text, Compare(integer, "==", constant), operator)
    if operator not in {"==", "!="}:
        raise _NotLoweredError
    return _equal(text, NEVER if decimal(constant) is not None else Compare(text, "==", constant), operator)


def _equal(text: Operand, equal: Logic, operator: str) -> Outcome:
    unequal = all_of([present(text), negated(equal)])
    outcome = Outcome(equal, unequal, absent(text))
    return outcome if operator in {"==", "in"} else _swapped(outcome)


def _remainder(node: Binary, comparison: Comparison, value: int | frozenset[int]) -> Outcome:
    divisor = _constant(node.right)
    if not isinstance(node.left, Attribute) or not node.left.number or not isinstance(divisor, int) or divisor <= 0:
        raise _NotLoweredError
    operand = Operand(node.left.fact, "integer")
    opposite = cast("Comparison", _OPPOSITE[comparison])
    return _judged(
        operand, Remainder(operand, divisor, comparison, value), Remainder(operand, divisor, opposite, value)
    )


def _member(left: Node, right: Node) -> Outcome:
    """``left in [constants of one type]``."""
    if not isinstance(right, Listing):
        raise _NotLoweredError
    constants = [_constant(item) for item in right.items]
    texts = frozenset(constant for constant in constants if isinstance(constant, str))
    integers = frozenset(constant for constant in constants if isinstance(constant, int))
    match left:
        case Attribute(number=False) if not integers:
            return _compared(Operand(left.fact), "in", texts)
        case Attribute(number=True):
            text, integer = Operand(left.fact), Operand(left.fact, "integer")
            plain = frozenset(constant for constant in texts if decimal(constant) is None)
            parts = [Compare(integer, "in", integers)] if integers else []
            parts += [Compare(text, "in", plain)] if plain else []
            return _equal(text, any_of(parts), "in")
        case Binary(operator="%") if not texts:
            return _remainder(left, "in", integers)
        case _:
            raise _NotLoweredError


def _text_test(attribute: Attribute, function: str, piece: str) -> Outcome:
    if function not in _TEXT_TESTS:
        raise _NotLoweredError
    operand = Operand(attribute.fact)
    holds = Text(operand, _TEXT_TESTS[function], piece)
    return Outcome(holds, all_of([present(operand), negated(holds)]), absent(operand))


def _constant(node: Node) -> str | int:
    """Text or whole number of a literal; 64-bit ones, the only ones CEL has."""
    match node:
        case Literal(kind="string" | "int", value=str() | int() as value):
            return value
        case Unary(operator="-", operand=Literal(kind="int", value=int() as value)):
            return -value
        case _:
            raise _NotLoweredError
