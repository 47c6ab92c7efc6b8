"""Rules that nothing ever reaches: behind one for everyone, or behind one that holds whenever they do.

Sound, not complete: equalities, lists, identical conditions and what ``all`` and ``any`` make of them are understood;
whatever is not obvious counts as reachable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from graymw.core.document.rules import ParsedRule
from graymw.core.document.tree import shown
from graymw.core.model import AllOf, AnyOf, Condition, Fact, Test

# Far more than the rules that people write need, and well below a second.
_MAX_STEPS: Final = 100_000


class _TooMuchError(Exception):
    """The steps are used up."""


def report_unreachable(rules: Sequence[ParsedRule]) -> None:
    """Report each rule of a release that can never decide."""
    try:
        _Lint().run(rules)
    except _TooMuchError:
        return


@dataclass(frozen=True, slots=True)
class _Known:
    """A condition of a rule that can decide, and the rule's name."""

    name: str
    condition: Condition


class _Lint:
    def __init__(self) -> None:
        self._left = _MAX_STEPS
        self._seen: dict[object, list[_Known]] = {}

    def run(self, rules: Sequence[ParsedRule]) -> None:
        everyone: str | None = None
        for parsed in rules:
            rule = parsed.rule
            if everyone is not None:
                parsed.cursor.error(
                    f"never reached: {shown(everyone)} before it is for everyone", "move it up or remove it"
                )
            elif parsed.for_everyone:
                everyone = parsed.name
            elif rule is not None and rule.condition is not None:
                self._check(parsed, _Known(rule.name, rule.condition))

    def _check(self, parsed: ParsedRule, known: _Known) -> None:
        if contradicts(known.condition):
            parsed.cursor.error(
                "never holds: two of its tests exclude each other", "use `any` where one of them suffices"
            )
            return
        for earlier in self._candidates(known.condition):
            if self._implies(known.condition, earlier.condition):
                parsed.cursor.error(
                    f"never reached: {shown(earlier.name)} before it holds whenever this does",
                    "move it up or remove it",
                )
                return
        self._remember(known)

    def _remember(self, known: _Known) -> None:
        """File a rule under the clues of its rarest part: what implies the rule implies that part, too."""
        listed = [list(_filed(part)) for part in _parts(known.condition)]
        for clue in min(listed, key=lambda clues: sum(len(self._seen.get(clue, ())) for clue in clues)):
            self._seen.setdefault(clue, []).append(known)

    def _candidates(self, condition: Condition) -> Iterator[_Known]:
        """Earlier rules that may hold whenever this does."""
        told: set[int] = set()
        for part in _parts(condition):
            for clue in _looked_up(part):
                for known in self._seen.get(clue, ()):
                    self._spend(1)
                    if id(known) not in told:
                        told.add(id(known))
                        yield known

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _TooMuchError

    def _implies(self, narrow: Condition, wide: Condition) -> bool:
        """Whether ``wide`` surely holds wherever ``narrow`` does."""
        self._spend(1)
        if isinstance(narrow, Test) and isinstance(wide, Test):
            return self._narrower(narrow, wide)
        if narrow == wide:
            return True
        if isinstance(narrow, AnyOf):
            return all(self._implies(branch, wide) for branch in narrow.conditions)
        if isinstance(wide, AllOf):
            return all(self._implies(narrow, part) for part in wide.conditions)
        if isinstance(wide, AnyOf) and any(self._implies(narrow, branch) for branch in wide.conditions):
            return True
        return isinstance(narrow, AllOf) and any(self._implies(part, wide) for part in narrow.conditions)

    def _narrower(self, narrow: Test, wide: Test) -> bool:
        if narrow == wide:
            return True
        inner = _values(narrow)
        if narrow.fact != wide.fact or inner is None:
            return False
        if wide.operator == "exists":
            return wide.operand is True
        outer = _values(wide)
        if outer is None or len(inner) > len(outer):
            return False
        self._spend(len(outer))
        return set(inner) <= set(outer)


def _parts(condition: Condition) -> tuple[Condition, ...]:
    return condition.conditions if isinstance(condition, AllOf) else (condition,)


def _values(condition: Condition) -> tuple[str, ...] | None:
    """Values that an equality allows, None for any other condition."""
    if isinstance(condition, Test):
        if condition.operator == "exact" and isinstance(condition.operand, str):
            return (condition.operand,)
        if condition.operator == "in" and isinstance(condition.operand, tuple):
            return tuple(str(value) for value in condition.operand)
    return None


def _filed(part: Condition) -> Iterator[object]:
    """Where a condition is filed, so that ``_looked_up`` of whatever implies it meets it."""
    yield part
    if isinstance(part, AnyOf):
        for branch in part.conditions:
            yield from _filed(_parts(branch)[0])
    elif isinstance(part, Test):
        if part.operator == "exists" and part.operand is True:
            yield part.fact
        for value in _values(part) or ():
            yield part.fact, value


def _looked_up(part: Condition) -> Iterator[object]:
    yield part
    if isinstance(part, AnyOf):
        for first in _parts(part.conditions[0]):
            yield from _looked_up(first)
    elif isinstance(part, Test):
        yield part.fact
        for value in (_values(part) or ())[:1]:
            yield part.fact, value


def contradicts(condition: Condition) -> bool:
    """Whether two equalities of one conjunction leave no value at all."""
    allowed: dict[Fact, set[str]] = {}
    for part in _parts(condition):
        values = _values(part)
        if values is not None and isinstance(part, Test):
            allowed[part.fact] = allowed.get(part.fact, set(values)) & set(values)
            if not allowed[part.fact]:
                return True
    return False
