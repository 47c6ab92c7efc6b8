"""Plain Python values (a mapping given by code, what TOML became) to a tree, bounded in depth and number."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from typing import Self

from graymw.core.document.tree import MAX_DEPTH, MAX_NODES, Node, Problems, is_whole, join, shown

_MAX_BITS = 1_300  # str() of larger integers is refused by Python beyond 4,300 digits


class WrittenFloat(float):
    """A float that remembers how it was written."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> Self:
        """Parse the written text."""
        made = super().__new__(cls, written)
        made.written = written
        return made


class _StopReadingError(Exception):
    """A bound was passed: the rest is not worth reading."""


def read(values: object, problems: Problems, lines: Mapping[str, int] | None = None) -> Node | None:
    """Tree of plain values; None where it is too large. ``lines`` gives the line of a path where known."""
    try:
        return _Reader(problems, lines or {}).node(values, "", 0)
    except _StopReadingError:
        return None


class _Reader:
    def __init__(self, problems: Problems, lines: Mapping[str, int]) -> None:
        self._problems = problems
        self._lines = lines
        self._order = 0

    def node(self, value: object, path: str, depth: int, line_above: int | None = None) -> Node:
        self._order += 1
        order = self._order
        line = self._lines.get(path, line_above)
        if order > MAX_NODES:
            self._stop(path, f"more than {MAX_NODES} values", "split the document")
        if isinstance(value, Mapping | list | tuple):
            if depth >= MAX_DEPTH:
                self._stop(path, f"nested deeper than {MAX_DEPTH} levels", "flatten the document")
            return self._container(value, path, depth, Node(None, line=line, order=order))
        return self._scalar(value, path, line, order)

    def _stop(self, path: str, message: str, mend: str) -> None:
        self._problems.add(path, message, mend, line=self._lines.get(path), order=self._order)
        raise _StopReadingError

    def _container(
        self, value: Mapping[object, object] | list[object] | tuple[object, ...], path: str, depth: int, made: Node
    ) -> Node:
        if not isinstance(value, Mapping):
            made.value = [self.node(item, f"{path}[{index}]", depth + 1, made.line) for index, item in enumerate(value)]
            return made
        members: dict[str, Node] = {}
        for key, item in value.items():
            if isinstance(key, str) and is_whole(key):
                members[key] = self.node(item, join(path, key), depth + 1, made.line)
            else:
                self._report(path, made, f"the key {shown(key)} is not text", "write the key in quotes")
        made.value = members
        return made

    def _scalar(self, value: object, path: str, line: int | None, order: int) -> Node:
        if isinstance(value, str) and is_whole(value):
            return Node(str(value), raw=value, line=line, order=order)
        if value is None or isinstance(value, bool):
            raw = "null" if value is None else str(value).lower()
            return Node(value, raw=raw, line=line, order=order)
        if isinstance(value, int) and value.bit_length() <= _MAX_BITS:
            return Node(int(value), raw=str(int(value)), line=line, order=order)
        if isinstance(value, float):
            raw = value.written if isinstance(value, WrittenFloat) else repr(float(value))
            return Node(float(value), raw=raw, line=line, order=order)
        if isinstance(value, date | time):  # a datetime is a date, too
            text = value.isoformat()
            return Node(text, raw=text, line=line, order=order)
        node = Node("", line=line, order=order)
        self._report(
            path,
            node,
            f"a value of type {type(value).__name__} has no meaning here",
            "write text, numbers, lists or mappings",
        )
        return node

    def _report(self, path: str, node: Node, message: str, mend: str) -> None:
        self._problems.add(path, message, mend, line=node.line, order=node.order)
