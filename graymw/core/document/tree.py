"""The tree between text and model: nodes that know where they stand, and the list of everything wrong with them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from graymw.errors import Problem

MAX_DEPTH: Final = 64
MAX_NODES: Final = 200_000
MAX_PROBLEMS: Final = 200

_SHOWN = 60
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")

Value: TypeAlias = "dict[str, Node] | list[Node] | str | int | float | bool | None"


class Node:
    """One value of the document.

    Attributes:
        value: A dict or list of nodes, or a scalar.
        raw: What was written for a number, a truth value or null; the text of any other scalar; empty for the rest.
        line: From 1, of the key where the value has one; None where unknown.
        order: Grows in the order of the text.
        size: Number of nodes in it, aliases counted as often as they are used.
        height: Levels below it.
    """

    __slots__ = ("height", "line", "order", "raw", "size", "value")

    def __init__(self, value: Value, *, raw: str = "", line: int | None = None, order: int = 0) -> None:
        self.value = value
        self.raw = raw
        self.line = line
        self.order = order
        self.size = 1
        self.height = 0

    def moved(self, line: int | None, order: int) -> Node:
        """The same value at another place: under its key, or where an alias names it."""
        node = Node(self.value, raw=self.raw, line=line, order=order)
        node.size = self.size
        node.height = self.height
        return node

    def adopt(self, child: Node) -> None:
        """Count a child's size and height as part of this node."""
        self.size += child.size
        self.height = max(self.height, child.height + 1)


class Problems:
    """Every fault found so far; beyond ``MAX_PROBLEMS`` they are only counted."""

    def __init__(self) -> None:
        self._found: list[tuple[int, Problem]] = []
        self._more = 0

    def add(
        self, path: str, message: str, mend: str, *, line: int | None = None, order: int = 0, severity: str = "error"
    ) -> None:
        """Take note of one problem; ``order`` is the place in the text that it is sorted by."""
        if self.full and severity == "error":
            self._more += 1
        elif not self.full:
            self._found.append((order, Problem(path, message, mend, line, severity)))

    def take(self, others: Problems) -> None:
        """Add all problems of another list."""
        self._found.extend(others._found)
        self._more += others._more

    @property
    def full(self) -> bool:
        """Whether further problems are only counted: their texts are not worth the making."""
        return len(self._found) >= MAX_PROBLEMS

    def in_order(self) -> tuple[Problem, ...]:
        """All problems in the order of the text."""
        found = [problem for _, problem in sorted(self._found, key=lambda pair: pair[0])]
        if self._more:
            found.append(Problem("", f"{self._more} more problems", "mend the ones above first"))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A node, its path, and where to report what is wrong with it."""

    node: Node
    path: str
    problems: Problems

    @property
    def value(self) -> Value:
        """Value of the node."""
        return self.node.value

    def error(self, message: str, mend: str) -> None:
        """Report a problem that refuses the document."""
        self.problems.add(self.path, message, mend, line=self.node.line, order=self.node.order)

    def warn(self, message: str, mend: str) -> None:
        """Report a problem that does not."""
        self.problems.add(self.path, message, mend, line=self.node.line, order=self.node.order, severity="warning")

    def members(self) -> Iterator[tuple[str, Cursor]]:
        """Key and cursor of each member of a mapping; nothing for anything else."""
        if isinstance(self.node.value, dict):
            for key, node in self.node.value.items():
                yield key, Cursor(node, join(self.path, key), self.problems)

    def member(self, key: str) -> Cursor | None:
        """Cursor of one member of a mapping, None where there is none."""
        value = self.node.value
        if isinstance(value, dict) and key in value:
            return Cursor(value[key], join(self.path, key), self.problems)
        return None

    def items(self) -> Iterator[Cursor]:
        """Cursor of each item of a list; nothing for anything else."""
        if isinstance(self.node.value, list):
            for index, node in enumerate(self.node.value):
                yield Cursor(node, f"{self.path}[{index}]", self.problems)

    def is_mapping(self, what: str, example: str) -> bool:
        """Whether this is a mapping; reports where it is not."""
        if isinstance(self.node.value, dict):
            return True
        self.error(f"{what} must be a mapping, not {kind(self.node)}", f"write it like {example}")
        return False

    def is_list(self, what: str, example: str) -> bool:
        """Whether this is a list; reports where it is not."""
        if isinstance(self.node.value, list):
            return True
        self.error(f"{what} must be a list, not {kind(self.node)}", f"write it like {example}")
        return False

    def refuse_unknown(self, known: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> None:
        """Report every member whose key is not ``known``; ``elsewhere`` has the mend of keys that belong elsewhere."""
        known = tuple(known)
        for key, cursor in self.members():
            if key not in known:
                mend = "" if cursor.problems.full else (elsewhere or {}).get(key) or nearest(key, known)
                cursor.error(f"unknown key {shown(key)}", mend)


def join(path: str, key: str) -> str:
    """Path of a member: ``releases.checkout``, or ``header['a.b']`` where the key is not a plain word."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


def is_whole(text: str) -> bool:
    """Whether a text has a UTF-8 form: half a surrogate pair, which escapes can write, has none."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def shown(text: object) -> str:
    """Representation that stays short however long the text."""
    whole = repr(text if not isinstance(text, str) else text[: _SHOWN + 1])
    return whole if len(whole) <= _SHOWN + 2 else f"{whole[:_SHOWN]}…{whole[-1]}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Mend for a word that is none of the known ones."""
    known = tuple(known)
    close = difflib.get_close_matches(word.lower(), known, n=1) if len(word) <= _SHOWN else []
    if close:
        return f"did you mean {close[0]}?"
    return "use one of " + (", ".join(known) if len(known) <= 16 else ", ".join((*known[:16], "…")))


def kind(node: Node) -> str:
    """What a node is, for people."""
    value = node.value
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"the truth value {node.raw}"
    if isinstance(value, int | float):
        return f"the number {node.raw[:_SHOWN]}"
    return f"the text {shown(value)}"
