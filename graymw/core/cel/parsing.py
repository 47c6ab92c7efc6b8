"""CEL tokens to a tree, by precedence climbing; depth is bounded so that nothing after it can overflow."""

from __future__ import annotations

from typing import Final

from graymw.core.cel.syntax import (
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
    Select,
    Span,
    Unary,
    children,
)
from graymw.core.cel.tokens import RESERVED, ExpressionError, Token, tokenize

MAX_DEPTH: Final = 64
_MAX_INT: Final = (1 << 63) - 1

_LEVELS: Final = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
    **dict.fromkeys("+-", 4),
    **dict.fromkeys("*/%", 5),
}
_LOGICAL: Final = 2
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


def parse(source: str) -> Node:
    """Syntax tree of an expression.

    Raises:
        ExpressionError: ``source`` is no CEL, too long or too deeply nested.
    """
    node = _Parser(source).whole()
    pending = [(node, 1)]
    while pending:
        inner, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise _too_deep()
        pending.extend((child, depth + 1) for child in children(inner))
    return node


class _Parser:
    def __init__(self, source: str) -> None:
        self._tokens = tokenize(source)
        self._position = 0
        self._nesting = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def _take(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _accept(self, kind: str) -> bool:
        if self._next.kind != kind:
            return False
        self._position += 1
        return True

    def _expect(self, kind: str) -> Token:
        if self._next.kind != kind:
            raise self._unexpected(f"expected {kind}")
        return self._take()

    def _since(self, start: int) -> Span:
        return Span(start, self._tokens[self._position - 1].end)

    def _unexpected(self, hint: str = "expected a value") -> ExpressionError:
        token = self._next
        if token.kind == "end":
            return ExpressionError(f"the expression ends too early, {hint}")
        mend = {"and": "write &&", "or": "write ||", "not": "write !"}.get(token.text, hint)
        return ExpressionError(f"unexpected {token.text!r} at character {token.start + 1}, {mend}")

    def whole(self) -> Node:
        node = self._expression()
        if self._next.kind != "end":
            raise self._unexpected("expected an operator or the end")
        return node

    def _expression(self) -> Node:
        self._nesting += 1
        if self._nesting > MAX_DEPTH:
            raise _too_deep()
        start = self._next.start
        node = self._binary(1)
        if self._accept("?"):
            then = self._binary(1)
            self._expect(":")
            otherwise = self._expression()
            node = Conditional(self._since(start), node, then, otherwise)
        self._nesting -= 1
        return node

    def _binary(self, minimum: int) -> Node:
        start = self._next.start
        left = self._unary()
        while True:
            operator = self._operator()
            level = _LEVELS.get(operator, 0)
            if level < minimum:
                return left
            if level <= _LOGICAL:
                operands = [left]
                while self._accept(operator):
                    operands.append(self._binary(level + 1))
                left = Logical(self._since(start), operator, tuple(operands))
            else:
                self._position += 1
                right = self._binary(level + 1)
                left = Binary(self._since(start), operator, left, right)

    def _operator(self) -> str:
        token = self._next
        return token.text if token.kind in _LEVELS or (token.kind == "name" and token.text == "in") else ""

    def _unary(self) -> Node:
        operators: list[Token] = []
        while self._next.kind in {"!", "-"}:
            operators.append(self._take())
            if operators[0].kind != operators[-1].kind:
                raise ExpressionError(f"! and - cannot follow each other, character {operators[-1].start + 1}")
        node = self._member(negative=bool(operators) and operators[0].kind == "-")
        for token in reversed(operators):
            node = Unary(self._since(token.start), token.kind, node)
        return node

    def _member(self, *, negative: bool) -> Node:
        start = self._next.start
        node = self._primary(negative=negative)
        while True:
            if self._accept("."):
                node = self._selected(node, start)
            elif self._accept("["):
                index = self._expression()
                self._expect("]")
                node = Index(self._since(start), node, index)
            else:
                return node

    def _selected(self, operand: Node, start: int) -> Node:
        if self._next.kind != "name" or self._next.text in {*_CONSTANTS, "in"}:
            raise self._unexpected("expected a name after the dot")
        field = self._take().text
        if self._accept("("):
            arguments = self._items(")")
            return Call(self._since(start), field, operand, arguments)
        return Select(self._since(start), operand, field)

    def _primary(self, *, negative: bool) -> Node:
        token = self._next
        match token.kind:
            case "int" | "uint" | "double" | "string" | "bytes":
                if token.kind == "int" and not negative and isinstance(token.value, int) and token.value > _MAX_INT:
                    raise ExpressionError(f"the number {token.text} does not fit in 64 bits")
                self._take()
                return Literal(self._since(token.start), token.kind, token.value)
            case "name":
                return self._named()
            case "(":
                self._take()
                node = self._expression()
                self._expect(")")
                return node
            case "[":
                self._take()
                items = self._items("]")
                return Listing(self._since(token.start), items)
            case "{":
                self._take()
                items = self._entries()
                return Mapping(self._since(token.start), items)
            case _:
                raise self._unexpected()

    def _named(self) -> Node:
        token = self._take()
        if token.text in _CONSTANTS:
            value = _CONSTANTS[token.text]
            return Literal(self._since(token.start), "null" if value is None else "bool", value)
        if token.text in RESERVED or token.text == "in":
            self._position -= 1
            raise self._unexpected("the word is reserved")
        if self._accept("("):
            arguments = self._items(")")
            return Call(self._since(token.start), token.text, None, arguments)
        return Name(self._since(token.start), token.text)

    def _items(self, closer: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._accept(closer):
            items.append(self._expression())
            if not self._accept(","):
                self._expect(closer)
                break
            if closer == ")" and self._next.kind == closer:
                raise self._unexpected()
        return tuple(items)

    def _entries(self) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._accept("}"):
            items.append(self._expression())
            self._expect(":")
            items.append(self._expression())
            if not self._accept(","):
                self._expect("}")
                break
        return tuple(items)


def _too_deep() -> ExpressionError:
    return ExpressionError(f"the expression is nested deeper than {MAX_DEPTH} levels")
