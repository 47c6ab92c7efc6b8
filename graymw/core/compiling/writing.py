"""Logic to Python's own syntax tree. Constants are ``ast.Constant`` or globals of the function, never text.

Each fact is read at most once per function and only where evaluation comes to it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, Final, TypeAlias, cast

from graymw.core.facts import RequestFacts, decimal
from graymw.core.folding import fold
from graymw.core.logic import (
    Applies,
    Calls,
    Compare,
    Constant,
    Every,
    Logic,
    Negation,
    Notes,
    Operand,
    Present,
    Remainder,
    Some,
    Text,
    logic_parts,
)
from graymw.core.lookup import MAP_SLOTS
from graymw.core.operators import number

Read: TypeAlias = Operand | str
"""What a local variable holds: an operand, or a whole map by its slot."""
Known: TypeAlias = frozenset[Read]
"""What has been read for certain at a point of the function."""

Leaf: TypeAlias = Constant | Present | Compare | Remainder | Text | Applies | Calls | Notes

FACTS: Final = "f"
MAX_HEIGHT: Final = 24
_MAX_KNOWN: Final = 128
_NOTHING: Final[Known] = frozenset()
_UNREAD: Final = object()
_COMPARISONS: Final[dict[str, ast.cmpop]] = {
    "==": ast.Eq(), "!=": ast.NotEq(), "<": ast.Lt(), "<=": ast.LtE(), ">": ast.Gt(), ">=": ast.GtE(),
    "in": ast.In(), "not in": ast.NotIn(),
}  # fmt: skip
_BUILTINS: Final = {"Exception": Exception, "UnicodeEncodeError": UnicodeEncodeError, "int": int, "len": len}
_NULL_SAFE: Final = frozenset({"==", "in"})


class FunctionWriter:
    """Collects the statements of one function of the facts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._globals: dict[str, Any] = {"UNREAD": _UNREAD, "decimal": decimal, "number": number, "clock": clock}
        self._clock = clock
        self._locals: dict[Read, str] = {}
        self._reread: set[str] = set()

    def bind(self, value: object, name: str) -> ast.expr:
        """Expression for an object of the process; ``name`` only helps whoever reads a dump."""
        key = f"{name}{len(self._globals)}"
        self._globals[key] = value
        return name_of(key)

    def load(self, read: Read, known: Known) -> tuple[ast.expr, Known]:
        """Expression for what ``read`` holds, reading it where that has not been done."""
        if read in known:
            return name_of(self._locals[read]), known
        seen = read in self._locals
        name = self._locals.setdefault(read, f"v{len(self._locals)}")
        source, known = self._source(read, known)
        value: ast.expr = ast.NamedExpr(store(name), source)
        if seen:
            self._reread.add(name)
            value = ast.IfExp(compared(name_of(name), ast.IsNot(), name_of("UNREAD")), name_of(name), value)
        # To forget is safe, it costs a check at the next use; to remember thousands would cost their copies.
        return value, (known if len(known) < _MAX_KNOWN else _NOTHING) | {read}

    def _source(self, read: Read, known: Known) -> tuple[ast.expr, Known]:
        if isinstance(read, str):
            return attribute(name_of(FACTS), read), known
        if read.fact.kind == "time":
            return called(name_of("clock")), known
        if read.form != "text":
            return self._converted(read, known)
        slot = MAP_SLOTS.get(read.fact.kind)
        if slot is None:
            return attribute(name_of(FACTS), read.fact.kind), known
        whole, known = self.load(slot, known)
        return called(attribute(whole, "get"), constant(read.fact.name)), known

    def _converted(self, read: Operand, known: Known) -> tuple[ast.expr, Known]:
        text, known = self.load(Operand(read.fact), known)
        if read.form == "number":
            return called(name_of("number"), text), known
        # The common case of ``decimal`` in place; a call would double its cost.
        again = name_of(self._locals[Operand(read.fact)])
        plain = ast.BoolOp(
            ast.And(),
            [
                compared(text, ast.IsNot(), constant(None)),
                compared(called(name_of("len"), again), ast.LtE(), constant(18)),
                called(attribute(again, "isascii")),
                called(attribute(again, "isdigit")),
            ],
        )
        return ast.IfExp(plain, called(name_of("int"), again), called(name_of("decimal"), again)), known

    def condition(self, logic: Logic, known: Known) -> tuple[ast.expr, Known, Known]:
        """Expression for ``logic``, and what is known after it held and after it did not."""
        return self.shallow_condition(self._shallow(logic), known)

    def shallow_condition(self, logic: Logic, known: Known) -> tuple[ast.expr, Known, Known]:
        """The same for logic that is not deep."""
        match logic:
            case Every():
                return self._sequence(ast.And(), logic.parts, known)
            case Some():
                value, when_false, when_true = self._sequence(ast.Or(), logic.parts, known)
                return value, when_true, when_false
            case Negation(part=part):
                value, when_true, when_false = self.shallow_condition(part, known)
                return ast.UnaryOp(ast.Not(), value), when_false, when_true
            case _:
                value, known = self._leaf(logic, known)
                return value, known, known

    def _sequence(self, operator: ast.boolop, parts: tuple[Logic, ...], known: Known) -> tuple[ast.expr, Known, Known]:
        """What is known after going through all parts, and after leaving at any of them."""
        values: list[ast.expr] = []
        left_known: Known | None = None
        for part in parts:
            value, when_true, when_false = self.shallow_condition(part, known)
            values.append(value)
            on, off = (when_true, when_false) if isinstance(operator, ast.And) else (when_false, when_true)
            left_known = off if left_known is None else left_known & off
            known = on
        return ast.BoolOp(operator, values), known, known if left_known is None else left_known

    def _leaf(self, logic: Leaf, known: Known) -> tuple[ast.expr, Known]:
        match logic:
            case Constant():
                return constant(logic.value), known
            case Calls(function=function):
                return called(self.bind(function, "call"), name_of(FACTS)), known
            case Notes(function=function):
                # Whatever the function returns stays out of the logic.
                return ast.BoolOp(ast.And(), [called(self.bind(function, "note")), constant(False)]), known
            case Present(operand=operand):
                value, known = self.load(operand, known)
                return compared(value, ast.IsNot(), constant(None)), known
            case Compare(operand=operand, comparison=comparison) if comparison in _NULL_SAFE:
                value, known = self.load(operand, known)
                return compared(value, _COMPARISONS[comparison], constant(logic.value)), known
            case _:
                return self._guarded(logic, known)

    def _guarded(self, logic: Compare | Remainder | Text | Applies, known: Known) -> tuple[ast.expr, Known]:
        """A test that needs its operand to be there."""
        value, known = self.load(logic.operand, known)
        if logic.operand.certain:
            return self._test(logic, value), known
        there = compared(value, ast.IsNot(), constant(None))
        again = name_of(self._locals[logic.operand])
        return ast.BoolOp(ast.And(), [there, self._test(logic, again)]), known

    def _test(self, logic: Compare | Remainder | Text | Applies, value: ast.expr) -> ast.expr:
        match logic:
            case Compare():
                return compared(value, _COMPARISONS[logic.comparison], constant(logic.value))
            case Text(test="contains"):
                return compared(constant(logic.piece), ast.In(), value)
            case Text():
                return called(attribute(value, logic.test), constant(logic.piece))
            case Applies():
                return called(self.bind(logic.function, "applies"), value)
            case Remainder():
                return compared(self._rest(logic, value), _COMPARISONS[logic.comparison], constant(logic.value))

    def _rest(self, logic: Remainder, value: ast.expr) -> ast.expr:
        """Python's ``%`` has the divisor's sign, which differs for negative dividends unless compared with 0."""
        if logic.value == 0 and logic.comparison in {"==", "!="}:
            return ast.BinOp(value, ast.Mod(), constant(logic.divisor))
        divisor = constant(logic.divisor)
        mirrored = ast.UnaryOp(ast.USub(), ast.BinOp(ast.UnaryOp(ast.USub(), value), ast.Mod(), divisor))
        return ast.IfExp(compared(value, ast.GtE(), constant(0)), ast.BinOp(value, ast.Mod(), divisor), mirrored)

    def _shallow(self, logic: Logic) -> Logic:
        """The same with deep parts in functions of their own, so that Python's compiler need not nest deeply."""

        def combine(node: Logic, parts: list[tuple[Logic, int]]) -> tuple[Logic, int]:
            height = 1 + max((height for _, height in parts), default=0)
            below = tuple(part for part, _ in parts)
            rebuilt: Logic = node
            if isinstance(node, Negation):
                rebuilt = Negation(below[0])
            elif isinstance(node, (Every, Some)):
                rebuilt = type(node)(below)
            return (Calls(predicate(rebuilt, self._clock)), 1) if height > MAX_HEIGHT else (rebuilt, height)

        return fold(logic, logic_parts, combine)[0]

    def function(self, name: str, body: list[ast.stmt]) -> Callable[[RequestFacts], Any]:
        """The finished function of the facts."""
        unread: list[ast.stmt] = [ast.Assign([store(local)], name_of("UNREAD")) for local in sorted(self._reread)]
        arguments = ast.arguments(posonlyargs=[], args=[ast.arg(FACTS)], kwonlyargs=[], kw_defaults=[], defaults=[])
        definition = ast.FunctionDef(name=name, args=arguments, body=[*unread, *body], decorator_list=[])
        module = ast.fix_missing_locations(ast.Module([definition], []))
        code = compile(module, "<graymw rules>", "exec")
        inner = next(constant for constant in code.co_consts if isinstance(constant, CodeType))
        return FunctionType(inner, {**self._globals, "__builtins__": _BUILTINS}, name)


def predicate(logic: Logic, clock: Callable[[], float]) -> Callable[[RequestFacts], bool]:
    """Function of the facts that tells whether ``logic``, which is not deep, holds."""
    writer = FunctionWriter(clock)
    value, _, _ = writer.shallow_condition(logic, frozenset())
    return writer.function("holds", [ast.Return(value)])


def name_of(name: str) -> ast.Name:
    """A variable that is read."""
    return ast.Name(name, ast.Load())


def store(name: str) -> ast.Name:
    """A variable that is set."""
    return ast.Name(name, ast.Store())


def attribute(value: ast.expr, name: str) -> ast.Attribute:
    """``value.name``."""
    return ast.Attribute(value, name, ast.Load())


def called(function: ast.expr, *arguments: ast.expr) -> ast.Call:
    """``function(*arguments)``."""
    return ast.Call(function, list(arguments), [])


def constant(value: object) -> ast.Constant:
    """A constant; frozen sets are ones as well, though the type stubs do not say so."""
    return ast.Constant(cast("Any", value))


def compared(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> ast.Compare:
    """``left operator right``."""
    return ast.Compare(left, [operator], [right])
