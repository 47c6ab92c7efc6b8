"""Types as far as they are certain without a request: finds expressions that always fail or are never true."""

from __future__ import annotations

from typing import Final

from graymw.core.cel.syntax import (
    Attribute,
    Binary,
    Call,
    Conditional,
    Listing,
    Literal,
    Logical,
    Mapping,
    Node,
    Presence,
    Unary,
    WholeMap,
    walk,
)
from graymw.core.cel.vocabulary import FUNCTIONS, METHODS

_NUMBERS: Final = frozenset({"int", "uint", "double"})
_RELATIONS: Final = frozenset({"<", "<=", ">", ">="})
_EQUALITIES: Final = frozenset({"==", "!="})
_BOOLEAN_MACROS: Final = frozenset({"all", "exists", "exists_one", "existsOne"})
_WORDS: Final = {
    "int": "a number", "uint": "a number", "double": "a number", "string": "text", "bool": "true or false",
    "bytes": "bytes", "list": "a list", "map": "a map", "null": "null", "type": "a type",
}  # fmt: skip
_TIMES: Final = frozenset({"timestamp", "duration"})
_BOOL: Final = frozenset({"bool"})


def possible_types(node: Node) -> frozenset[str]:  # noqa: PLR0911 - one case per kind of node
    """Types that the value may have; empty where that is not known."""
    match node:
        case Literal():
            return frozenset({node.kind})
        case Attribute():
            return frozenset({"int", "string"} if node.number else {"string"})
        case Presence() | Logical() | Unary(operator="!"):
            return _BOOL
        case Binary():
            return _BOOL if node.operator in _RELATIONS | _EQUALITIES | {"in"} else _arithmetic(node)
        case Unary():
            return possible_types(node.operand)
        case Conditional():
            then, otherwise = possible_types(node.then), possible_types(node.otherwise)
            return then | otherwise if then and otherwise else frozenset()
        case Listing():
            return frozenset({"list"})
        case Mapping() | WholeMap():
            return frozenset({"map"})
        case Call():
            return _call(node)
        case _:
            return frozenset()


def _call(node: Call) -> frozenset[str]:
    if node.function in _BOOLEAN_MACROS or node.function == "has":
        return _BOOL
    if node.function in {"map", "filter"}:
        return frozenset({"list"})
    yields = FUNCTIONS.get(node.function) if node.target is None else METHODS.get(node.function, (0, None))[1]
    return frozenset({yields}) if yields else frozenset()


def _arithmetic(node: Binary) -> frozenset[str]:
    left, right = possible_types(node.left), possible_types(node.right)
    return left & right if left and right and not (left | right) & _TIMES else frozenset()


def type_problems(node: Node) -> list[str]:
    """Every part that fails on each request or can never hold, and a result that is not true or false."""
    problems = [problem for inner in walk(node) if (problem := _mismatch(inner)) is not None]
    result = possible_types(node)
    if result and "bool" not in result:
        problems.append(f"the expression yields {_words(result)}, not true or false, compare it with something")
    return problems


def _mismatch(node: Node) -> str | None:
    match node:
        case Binary():
            left, right = possible_types(node.left), possible_types(node.right)
            return _pair(node, left, right) if left and right else None
        case Logical():
            for operand in node.operands:
                types = possible_types(operand)
                if types and "bool" not in types:
                    return f"{node.operator} joins conditions, but one side is {_words(types)}"
        case Unary(operator="!"):
            types = possible_types(node.operand)
            if types and "bool" not in types:
                return f"! negates a condition, but it stands before {_words(types)}"
    return None


def _pair(node: Binary, left: frozenset[str], right: frozenset[str]) -> str | None:
    operator = node.operator
    if (left | right) & _TIMES:
        return None
    if operator == "in":
        return None if right & {"list", "map"} else f"in looks into a list or a map, not into {_words(right)}"
    if left & right or (left & _NUMBERS and right & _NUMBERS and operator in _RELATIONS | _EQUALITIES):
        return _impossible_remainder(operator, left & right)
    if operator in _EQUALITIES:
        return f"{operator} compares {_words(left)} with {_words(right)}, which are never equal{_mend(left, right)}"
    return f"{operator} fails between {_words(left)} and {_words(right)}{_mend(left, right)}"


def _impossible_remainder(operator: str, types: frozenset[str]) -> str | None:
    if operator == "%" and types and not types & {"int", "uint"}:
        return f"% needs whole numbers, not {_words(types)}"
    return None


def _mend(left: frozenset[str], right: frozenset[str]) -> str:
    if {"null"} in (left, right):
        return ", ask for presence with 'x' in request.headers or has(cookies.x)"
    if {"string"} in (left, right) and (left | right) & _NUMBERS:
        return ", write the number in quotes, convert with int(…), or use uid for a numeric user id"
    return ""


def _words(types: frozenset[str]) -> str:
    return " or ".join(sorted({_WORDS.get(name, f"a {name}") for name in types}))
