"""Two-valued logic over facts: what conditions and simple expressions are brought to before code is made of them.

Every leaf is false where its fact is absent. Build with ``all_of``, ``any_of`` and ``negated``, which simplify.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from graymw.core.facts import RequestFacts
from graymw.core.model import Fact

Form: TypeAlias = Literal["text", "integer", "number"]
Comparison: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in"]
TextTest: TypeAlias = Literal["startswith", "endswith", "contains"]

_ALWAYS_PRESENT: Final = frozenset({"method", "path", "host", "time"})


@dataclass(frozen=True, slots=True)
class Operand:
    """A fact as text, as a plain integer or as a plain number; absent where it is not of that form."""

    fact: Fact
    form: Form = "text"

    @property
    def certain(self) -> bool:
        """Whether it is there in every request."""
        return (self.form == "text" and self.fact.kind in _ALWAYS_PRESENT) or self.fact.kind == "time"


@dataclass(frozen=True, slots=True)
class Constant:
    """Always or never."""

    value: bool


@dataclass(frozen=True, slots=True)
class Present:
    """The operand is there."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class Compare:
    """``operand comparison value``."""

    operand: Operand
    comparison: Comparison
    value: str | int | float | frozenset[str] | frozenset[int]


@dataclass(frozen=True, slots=True)
class Remainder:
    """``operand % divisor comparison value``, the remainder with the sign of the dividend; the divisor is positive."""

    operand: Operand
    divisor: int
    comparison: Comparison
    value: int | frozenset[int]


@dataclass(frozen=True, slots=True)
class Text:
    """A test of the text against a constant piece."""

    operand: Operand
    test: TextTest
    piece: str


@dataclass(frozen=True, slots=True)
class Applies:
    """``function(text)`` holds."""

    operand: Operand
    function: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Calls:
    """``function(facts)`` holds; it reads ``facts`` one by one and all of ``maps``."""

    function: Callable[[RequestFacts], bool]
    facts: frozenset[Fact] = frozenset()
    maps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Notes:
    """Never holds; calls ``function`` where evaluation comes to it."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold; looked at in order."""

    parts: tuple[Logic, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """One part holds; looked at in order."""

    parts: tuple[Logic, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """The part does not hold."""

    part: Logic


Logic: TypeAlias = Constant | Present | Compare | Remainder | Text | Applies | Calls | Notes | Every | Some | Negation

ALWAYS: Final = Constant(True)
NEVER: Final = Constant(False)


def present(operand: Operand) -> Logic:
    """The operand is there."""
    return ALWAYS if operand.certain else Present(operand)


def absent(operand: Operand) -> Logic:
    """The operand is not there."""
    return negated(present(operand))


def all_of(parts: Iterable[Logic]) -> Logic:
    """Every part holds."""
    return _joined(parts, Every, NEVER, ALWAYS)


def any_of(parts: Iterable[Logic]) -> Logic:
    """At least one part holds."""
    return _joined(parts, Some, ALWAYS, NEVER)


def negated(part: Logic) -> Logic:
    """The part does not hold."""
    match part:
        case Constant(value=value):
            return NEVER if value else ALWAYS
        case Negation(part=inner):
            return inner
        case _:
            return Negation(part)


def logic_parts(logic: Logic) -> tuple[Logic, ...]:
    """Logic directly inside."""
    if isinstance(logic, (Every, Some)):
        return logic.parts
    return (logic.part,) if isinstance(logic, Negation) else ()


def _joined(parts: Iterable[Logic], kind: type[Every | Some], decisive: Constant, neutral: Constant) -> Logic:
    """Flattened, without neutral parts and without what comes after a decisive one."""
    kept: list[Logic] = []
    for part in parts:
        kept.extend(part.parts if isinstance(part, kind) else (part,))
        if part == decisive:
            break
    kept = [part for part in kept if part != neutral]
    if not kept:
        return neutral
    if kept[0] == decisive or len(kept) == 1:
        return kept[0]
    return kind(tuple(kept))
