"""CEL's syntax tree, as far as graymw reads it. Every node knows its place in the source.

``&&`` and ``||`` hold all their operands side by side, so a long chain is not a deep tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as Choice
from typing import TypeAlias

from graymw.core.model import Fact

LiteralKind: TypeAlias = Choice["int", "uint", "double", "string", "bytes", "bool", "null"]


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of characters in the source."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. ``value`` is None for ``null`` and for bytes, which nothing here looks into."""

    span: Span
    kind: LiteralKind
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Name:
    """A bare identifier."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """``operand.field``."""

    span: Span
    operand: Node
    field: str


@dataclass(frozen=True, slots=True)
class Index:
    """``operand[index]``."""

    span: Span
    operand: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Call:
    """``function(arguments)`` or ``target.function(arguments)``, macros included."""

    span: Span
    function: str
    target: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """``!operand`` or ``-operand``."""

    span: Span
    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Relations and arithmetic."""

    span: Span
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logical:
    """``&&`` or ``||`` over two or more operands."""

    span: Span
    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """``test ? then : otherwise``."""

    span: Span
    test: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Listing:
    """``[items]``."""

    span: Span
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """``{key: value}``; keys and values in turn."""

    span: Span
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """A fact of the request, put in place of the names that spell it.

    Attributes:
        number: It is ``uid``: an int where the user id is a plain decimal, else the text.
    """

    span: Span
    fact: Fact
    number: bool = False


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a fact is there: ``'x' in request.headers``, ``has(cookies.x)``."""

    span: Span
    fact: Fact


@dataclass(frozen=True, slots=True)
class WholeMap:
    """All headers, cookies or query parameters at once; costs their conversion."""

    span: Span
    kind: Choice["header", "cookie", "query"]


Node: TypeAlias = (
    Literal
    | Name
    | Select
    | Index
    | Call
    | Unary
    | Binary
    | Logical
    | Conditional
    | Listing
    | Mapping
    | Attribute
    | Presence
    | WholeMap
)


def children(node: Node) -> tuple[Node, ...]:  # noqa: PLR0911 - one case per kind of node
    """Direct operands, in the order of the source."""
    match node:
        case Select(operand=operand) | Unary(operand=operand):
            return (operand,)
        case Index():
            return (node.operand, node.index)
        case Call():
            return (*(() if node.target is None else (node.target,)), *node.arguments)
        case Binary():
            return (node.left, node.right)
        case Logical():
            return node.operands
        case Conditional():
            return (node.test, node.then, node.otherwise)
        case Listing(items=items) | Mapping(items=items):
            return items
        case _:
            return ()


def walk(node: Node) -> list[Node]:
    """``node`` and everything below it."""
    nodes = [node]
    for inner in nodes:
        nodes.extend(children(inner))
    return nodes
