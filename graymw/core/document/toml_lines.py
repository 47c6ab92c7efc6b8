"""Lines of the keys and tables of a TOML text, which ``tomllib`` does not keep.

Reads valid TOML only as far as lines need it: headers, keys at the beginning of a line, and how far a value reaches.
Where an odd text leads it astray, a line is missing or wrong in a message; nothing else depends on it.
"""

from __future__ import annotations

import re

from graymw.core.document.tree import join

_PART = re.compile(r"""[ \t]*+(?:([A-Za-z0-9_-]++)|"([^"\n]*+)"|'([^'\n]*+)')[ \t]*+(\.)?""")
_HEADER = re.compile(r"[ \t]*+(\[\[?)")
# A piece of a value: strings whole, so that brackets and quotes inside them do not count.
_PIECE = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'''(?:[^']|'(?!''))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|\#[^\n]*+|[\[{]|[\]}]|\n|[^\"'\#\[\]{}\n]++|.",
    re.DOTALL,
)


def lines_of(text: str) -> dict[str, int]:
    """Line, from 1, by path of each table and key."""
    return _Finder(text).find()


class _Finder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._table = ""

    def find(self) -> dict[str, int]:
        at = 0
        line = 1
        while at < len(self._text):
            start = at
            header = _HEADER.match(self._text, at)
            if header is None:
                keys, at = self._keys(at)
                self._note(self._table, keys, line)
                at = self._end_of_value(at)
            else:
                keys, at = self._keys(header.end())
                self._open(keys, line, repeated=len(header.group(1)) == 2)
                at = self._end_of_line(at)
            line += self._text.count("\n", start, at)
        return self._lines

    def _keys(self, at: int) -> tuple[list[str], int]:
        keys: list[str] = []
        while True:
            part = _PART.match(self._text, at)
            if part is None:
                return keys, at
            keys.append(part.group(1) or part.group(2) or part.group(3) or "")
            at = part.end()
            if part.group(4) is None:
                return keys, at

    def _note(self, path: str, keys: list[str], line: int) -> str:
        for key in keys:
            path = join(path, key)
            self._lines.setdefault(path, line)
            if path in self._items:
                path = f"{path}[{self._items[path]}]"
        return path

    def _open(self, keys: list[str], line: int, *, repeated: bool) -> None:
        if not repeated:
            self._table = self._note("", keys, line)
            return
        path = join(self._note("", keys[:-1], line), keys[-1] if keys else "")
        self._lines.setdefault(path, line)
        self._items[path] = self._items.get(path, -1) + 1
        self._table = f"{path}[{self._items[path]}]"
        self._lines[self._table] = line

    def _end_of_line(self, at: int) -> int:
        found = self._text.find("\n", at)
        return len(self._text) if found < 0 else found + 1

    def _end_of_value(self, at: int) -> int:
        """Where the line after a value begins; a value goes on while a bracket is open."""
        depth = 0
        for piece in _PIECE.finditer(self._text, at):
            found = piece.group()
            if found in {"[", "{"}:
                depth += 1
            elif found in {"]", "}"}:
                depth -= 1
            elif found == "\n" and depth <= 0:
                return piece.end()
        return len(self._text)
