"""Runs of rules that only compare facts with constants: one dictionary probe per set of facts, not per rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, product
from math import prod
from typing import Final

from graymw.core.logic import Compare, Every, Logic, Operand
from graymw.core.lookup import MAP_SLOTS

MIN_RULES: Final = 8
MAX_KEYS: Final = 256
"""Of one rule: lists multiply where several facts have one each."""
MAX_MAP_PROBES: Final = 12
"""Names of one map that are probed one by one; beyond, going through what the request has is cheaper."""

Key = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equalities:
    """What one rule asks for: every operand is one of its texts."""

    wanted: tuple[tuple[Operand, frozenset[str]], ...]

    @property
    def signature(self) -> tuple[Operand, ...]:
        """The operands alone."""
        return tuple(operand for operand, _ in self.wanted)

    def spellings(self) -> list[Key]:
        """Every text, or tuple of texts, under which the rule is found."""
        values = [sorted(texts) for _, texts in self.wanted]
        return list(values[0]) if len(values) == 1 else list(product(*values))


@dataclass(slots=True)
class Probes:
    """Tables of a run; their values are the positions of rules within the run, the first one wins.

    Attributes:
        tables: By signature, key to position.
        scans: By slot of a map, ``(name, text)`` to position, for maps of which many names are asked.
    """

    tables: dict[tuple[Operand, ...], dict[Key, int]] = field(default_factory=dict)
    scans: dict[str, dict[tuple[str, str], int]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Probes that a request costs."""
        return len(self.tables) + MAX_MAP_PROBES * len(self.scans)


def equalities(logic: Logic) -> Equalities | None:
    """``logic`` as equalities on different facts, None where it is anything else."""
    wanted: dict[Operand, frozenset[str]] = {}
    for part in logic.parts if isinstance(logic, Every) else (logic,):
        if not isinstance(part, Compare) or part.operand.form != "text" or part.operand in wanted:
            return None
        if part.comparison == "==" and isinstance(part.value, str):
            wanted[part.operand] = frozenset({part.value})
        elif part.comparison == "in" and isinstance(part.value, frozenset):
            wanted[part.operand] = frozenset(text for text in part.value if isinstance(text, str))
        else:
            return None
    if prod(len(texts) for texts in wanted.values()) > MAX_KEYS:
        return None
    return Equalities(tuple(sorted(wanted.items(), key=lambda item: str(item[0].fact))))


def segments(logics: Sequence[Logic]) -> Iterator[tuple[int, int, Probes | None]]:
    """Rules in pieces ``[first, last)``: those to probe by tables, and those to look at one after the other."""
    first = 0
    for comparable, group in groupby(map(equalities, logics), key=lambda rule: rule is not None):
        run = list(group)
        last = first + len(run)
        yield first, last, probes([rule for rule in run if rule is not None]) if comparable else None
        first = last


def probes(run: Sequence[Equalities]) -> Probes | None:
    """Tables for a run of rules, None where looking at one rule after the other is cheaper."""
    if len(run) < MIN_RULES:
        return None
    found = Probes()
    for position, rule in enumerate(run):
        table = found.tables.setdefault(rule.signature, {})
        for key in rule.spellings():
            table.setdefault(key, position)
    _scan_wide_maps(found)
    return found if 2 * found.count <= len(run) else None


def _scan_wide_maps(found: Probes) -> None:
    for slot in MAP_SLOTS.values():
        single = [
            signature
            for signature in found.tables
            if len(signature) == 1 and MAP_SLOTS.get(signature[0].fact.kind) == slot
        ]
        if len(single) <= MAX_MAP_PROBES:
            continue
        scan = found.scans.setdefault(slot, {})
        for signature in single:
            name = signature[0].fact.name
            scan.update({(name, str(key)): position for key, position in found.tables.pop(signature).items()})
