"""Names in a syntax tree to the facts they mean; finds what no request could ever answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from graymw.core.cel.syntax import (
    Attribute,
    Binary,
    Call,
    Conditional,
    Index,
    Listing,
    Literal,
    Logical,
    Mapping,
    Name,
    Node,
    Presence,
    Select,
    Unary,
    WholeMap,
)
from graymw.core.cel.vocabulary import (
    FUNCTIONS,
    HEADERS,
    MACROS,
    MAPS,
    METHODS,
    REQUEST,
    REQUEST_ATTRIBUTES,
    TYPE_NAMES,
    UID,
    VARIABLES,
    MapKind,
    did_you_mean,
    header_name,
    request_attribute_hint,
)
from graymw.core.model import Fact

MAX_LOOPS: Final = 2
RESERVED_PREFIX: Final = "__"
_MAP_NAMES: Final = {"header": "request.headers", "cookie": "cookies", "query": "query"}


@dataclass(frozen=True, slots=True)
class Resolved:
    """Tree with facts in place of names, and every problem found on the way."""

    node: Node
    problems: tuple[str, ...]


def resolve(node: Node) -> Resolved:
    """Put facts in place of the names that spell them."""
    resolver = _Resolver()
    resolved = resolver.visit(node, frozenset())
    return Resolved(resolved, tuple(dict.fromkeys(resolver.problems)))


class _Resolver:
    def __init__(self) -> None:
        self.problems: list[str] = []
        self._loops = 0

    def visit(self, node: Node, scope: frozenset[str]) -> Node:  # noqa: C901, PLR0911 - one case per kind of node
        """``scope`` holds the variables of the loops around."""
        match node:
            case Name():
                return self._name(node, scope)
            case Select():
                return self._member(node, node.operand, node.field, scope)
            case Index(index=Literal(kind="string", value=str(key))):
                return self._member(node, node.operand, key, scope)
            case Index():
                return self._index(node, scope)
            case Call():
                return self._call(node, scope)
            case Binary(operator="in"):
                return self._membership(node, scope)
            case Binary():
                return replace(node, left=self.visit(node.left, scope), right=self.visit(node.right, scope))
            case Unary():
                return replace(node, operand=self.visit(node.operand, scope))
            case Logical():
                return replace(node, operands=self._all(node.operands, scope))
            case Conditional():
                test, then, otherwise = self._all((node.test, node.then, node.otherwise), scope)
                return replace(node, test=test, then=then, otherwise=otherwise)
            case Listing() | Mapping():
                return replace(node, items=self._all(node.items, scope))
            case _:
                return node

    def _all(self, nodes: tuple[Node, ...], scope: frozenset[str]) -> tuple[Node, ...]:
        return tuple(self.visit(node, scope) for node in nodes)

    def _name(self, node: Name, scope: frozenset[str]) -> Node:
        name = node.name
        if name in scope or name in TYPE_NAMES:
            return node
        if name == UID:
            return Attribute(node.span, VARIABLES["user"], number=True)
        if name in VARIABLES:
            return Attribute(node.span, VARIABLES[name])
        if name in MAPS:
            return WholeMap(node.span, MAPS[name])
        if name == REQUEST:
            self.problems.append("request stands for no single value, name one of its attributes, such as request.path")
        else:
            known = {*VARIABLES, *MAPS, UID, REQUEST, *scope}
            self.problems.append(f"unknown name '{name}'{did_you_mean(name, known)}")
        return node

    def _member(self, node: Select | Index, operand: Node, field: str, scope: frozenset[str]) -> Node:
        """``operand.field`` and ``operand['field']``, which mean the same."""
        if isinstance(operand, Name) and operand.name == REQUEST and REQUEST not in scope:
            return self._request_attribute(node, field)
        resolved = self.visit(operand, scope)
        if isinstance(resolved, WholeMap):
            return Attribute(node.span, _entry(resolved.kind, field))
        return replace(node, operand=resolved)

    def _request_attribute(self, node: Select | Index, field: str) -> Node:
        if field == HEADERS:
            return WholeMap(node.span, "header")
        fact = REQUEST_ATTRIBUTES.get(field)
        if fact is None:
            self.problems.append(f"unknown attribute 'request.{field}'{request_attribute_hint(field)}")
            return node
        return Attribute(node.span, fact)

    def _index(self, node: Index, scope: frozenset[str]) -> Node:
        operand, index = self._all((node.operand, node.index), scope)
        if isinstance(operand, WholeMap) and isinstance(index, Literal):
            name = _MAP_NAMES[operand.kind]
            self.problems.append(f"{name} is indexed by text, write {name}['{index.value}']")
        return replace(node, operand=operand, index=index)

    def _membership(self, node: Binary, scope: frozenset[str]) -> Node:
        left, right = self._all((node.left, node.right), scope)
        if isinstance(right, WholeMap) and isinstance(left, Literal) and isinstance(left.value, str):
            return Presence(node.span, _entry(right.kind, left.value))
        return replace(node, left=left, right=right)

    def _call(self, node: Call, scope: frozenset[str]) -> Node:
        if node.function == "has" and node.target is None:
            return self._has(node, scope)
        if node.target is not None and node.function in MACROS:
            return self._loop(node, node.target, scope)
        self._check_call(node)
        target = None if node.target is None else self.visit(node.target, scope)
        return replace(node, target=target, arguments=self._all(node.arguments, scope))

    def _has(self, node: Call, scope: frozenset[str]) -> Node:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], Select):
            self.problems.append(
                "has() takes a member such as has(cookies.name); for a name with - write 'x-a' in query"
            )
            return node
        member = self.visit(node.arguments[0], scope)
        if isinstance(member, Attribute):
            return Presence(node.span, member.fact)
        if isinstance(member, WholeMap):
            return Presence(node.span, REQUEST_ATTRIBUTES["method"])
        return replace(node, arguments=(member,))

    def _loop(self, node: Call, target: Node, scope: frozenset[str]) -> Node:
        arguments = node.arguments
        variable = arguments[0] if arguments else None
        wanted = MACROS[node.function]
        if not isinstance(variable, Name) or len(arguments) not in ({2, 3} if node.function == "map" else {wanted}):
            self.problems.append(
                f"{node.function}() takes a variable and a condition, such as query.{node.function}(k, k == 'a')"
            )
            return node
        if variable.name in {*VARIABLES, *MAPS, UID, REQUEST} or variable.name.startswith(RESERVED_PREFIX):
            self.problems.append(f"the loop variable '{variable.name}' has a meaning already, choose another name")
        ranged = self.visit(target, scope)
        self._loops += 1
        if self._loops > MAX_LOOPS:
            self.problems.append(f"loops may be nested {MAX_LOOPS} deep, each level multiplies the work of a request")
        body = self._all(arguments[1:], scope | {variable.name})
        self._loops -= 1
        return replace(node, target=ranged, arguments=(variable, *body))

    def _check_call(self, node: Call) -> None:
        name, count = node.function, len(node.arguments)
        if node.target is None:
            if name not in FUNCTIONS:
                mend = (
                    f", write x.{name}(…)"
                    if name in METHODS or name in MACROS
                    else did_you_mean(name, {*FUNCTIONS, "has"})
                )
                self.problems.append(f"unknown function '{name}'{mend}")
            elif count != 1:
                self.problems.append(f"{name}() takes one argument, not {count}")
        elif name not in METHODS:
            mend = f", write {name}(x)" if name in FUNCTIONS else did_you_mean(name, {*METHODS, *MACROS})
            self.problems.append(f"unknown function '{name}'{mend}")
        elif count != METHODS[name][0]:
            self.problems.append(f".{name}() takes {METHODS[name][0] or 'no'} argument(s), not {count}")


def _entry(kind: MapKind, name: str) -> Fact:
    return Fact(kind, header_name(name) if kind == "header" else name)
