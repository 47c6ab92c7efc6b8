"""JSON text to a tree with lines (RFC 8259), without recursion; duplicate keys are problems."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from json import JSONDecodeError, decoder
from typing import Final

from graymw.core.document.tree import MAX_DEPTH, MAX_NODES, Node, Problems, Value, is_whole, join, shown

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, Value]] = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DIGITS = 400
_scanstring: Final[Callable[[str, int, bool], tuple[str, int]]] = vars(decoder)["scanstring"]


class _SyntaxError(Exception):
    def __init__(self, at: int, message: str, mend: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message
        self.mend = mend


def read(text: str, problems: Problems) -> Node | None:
    """Tree of a JSON text, None where its syntax is broken; reports every problem found."""
    reader = _Reader(text, problems)
    try:
        return reader.read()
    except _SyntaxError as error:
        problems.add("", f"not JSON: {error.message}", error.mend, line=reader.line(error.at), order=error.at)
        return None


class _Frame:
    """A list or mapping that is still open, and the key whose value comes next."""

    __slots__ = ("at", "key", "node", "path")

    def __init__(self, node: Node, path: str) -> None:
        self.node = node
        self.path = path
        self.key = ""
        self.at = 0


class _Reader:
    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._frames: list[_Frame] = []
        self._nodes = 0

    def line(self, at: int) -> int:
        return bisect_right(self._breaks, at - 1) + 1

    def read(self) -> Node:
        at = self._skip(0)
        while True:
            node, at = self._value(at)
            if node is None:
                continue
            at = self._skip(at)
            while self._frames:
                self._attach(node)
                closed, at = self._after_value(at)
                if closed is None:
                    break
                node = closed
            else:
                if at < len(self._text):
                    raise _SyntaxError(at, "text after the end", "remove what follows the document")
                return node

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return at if match is None else match.end()

    def _value(self, at: int) -> tuple[Node | None, int]:
        """A finished value and where it ends, or None after opening a list or mapping that has members."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _SyntaxError(at, f"more than {MAX_NODES} values", "split the document")
        sign = self._text[at : at + 1]
        if sign in {"{", "["}:
            return self._open(at, sign)
        if sign == '"':
            value, end = self._string(at)
            return self._node(value, value, at), end
        number = _NUMBER.match(self._text, at)
        if number is not None:
            return self._number(number), number.end()
        word = _WORD.match(self._text, at)
        if word is not None and word.group() in _WORDS:
            return self._node(_WORDS[word.group()], word.group(), at), word.end()
        raise self._unexpected(at)

    def _open(self, at: int, sign: str) -> tuple[Node | None, int]:
        if len(self._frames) >= MAX_DEPTH:
            raise _SyntaxError(at, f"nested deeper than {MAX_DEPTH} levels", "flatten the document")
        node = self._node({} if sign == "{" else [], "", at)
        inside = self._skip(at + 1)
        if self._text[inside : inside + 1] == ("}" if sign == "{" else "]"):
            return node, inside + 1
        self._frames.append(_Frame(node, self._path()))
        return None, self._key(inside) if sign == "{" else inside

    def _path(self) -> str:
        if not self._frames:
            return ""
        frame = self._frames[-1]
        if isinstance(frame.node.value, list):
            return f"{frame.path}[{len(frame.node.value)}]"
        return join(frame.path, frame.key)

    def _node(self, value: Value, raw: str, at: int) -> Node:
        return Node(value, raw=raw, line=self.line(at), order=at)

    def _string(self, at: int) -> tuple[str, int]:
        try:
            value, end = _scanstring(self._text, at + 1, True)
        except JSONDecodeError as error:
            raise _SyntaxError(
                min(error.pos, len(self._text)), error.msg, "close the quotes; write line breaks as \\n and \\ as \\\\"
            ) from None
        if not is_whole(value):
            raise _SyntaxError(at, "half a surrogate pair", "write both halves or the character itself")
        return value, end

    def _number(self, match: re.Match[str]) -> Node:
        text = match.group()
        if len(text) > _MAX_DIGITS:
            raise _SyntaxError(match.start(), "a number of too many digits", "write it in quotes")
        value = float(text) if match.group(1) or match.group(2) else int(text)
        return self._node(value, text, match.start())

    def _key(self, at: int) -> int:
        """Read ``"key":`` and return where its value begins."""
        if self._text[at : at + 1] != '"':
            if self._text[at : at + 1] == "}":
                raise _SyntaxError(at, "a comma before the end", "remove the comma")
            raise _SyntaxError(at, "a key is not in double quotes", 'write keys as "key"')
        frame = self._frames[-1]
        frame.key, end = self._string(at)
        frame.at = at
        members = frame.node.value
        if isinstance(members, dict) and frame.key in members:
            self._problems.add(
                join(frame.path, frame.key),
                f"the key {shown(frame.key)} stands twice, first on line {members[frame.key].line}",
                "keep one of the two",
                line=self.line(at),
                order=at,
            )
        end = self._skip(end)
        if self._text[end : end + 1] != ":":
            raise _SyntaxError(end, f"no colon after the key {shown(frame.key)}", "write a colon after the key")
        return self._skip(end + 1)

    def _attach(self, node: Node) -> None:
        frame = self._frames[-1]
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
        elif isinstance(frame.node.value, dict):
            frame.node.value[frame.key] = node.moved(self.line(frame.at), frame.at)
        frame.node.adopt(node)

    def _after_value(self, at: int) -> tuple[Node | None, int]:
        """The list or mapping that ends here and where, or None and where the next value begins."""
        frame = self._frames[-1]
        inside_list = isinstance(frame.node.value, list)
        sign = self._text[at : at + 1]
        if sign == ",":
            after = self._skip(at + 1)
            if inside_list and self._text[after : after + 1] == "]":
                raise _SyntaxError(after, "a comma before the end", "remove the comma")
            return None, after if inside_list else self._key(after)
        if sign == ("]" if inside_list else "}"):
            self._frames.pop()
            return frame.node, self._skip(at + 1)
        if not sign:
            raise self._unexpected(at)
        raise _SyntaxError(at, f"{shown(sign)} where a comma or the end should be", "write a comma between members")

    def _unexpected(self, at: int) -> _SyntaxError:
        if at >= len(self._text):
            return _SyntaxError(at, "the text ends too early", "close every bracket")
        word = _WORD.match(self._text, at)
        found = self._text[at] if word is None else word.group()
        if found in {"]", "}"}:
            return _SyntaxError(at, f"{shown(found)} where a value should be", "write a value or remove the comma")
        return _SyntaxError(at, f"{shown(found)} is no value", "write text in double quotes")
