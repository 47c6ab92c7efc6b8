"""CEL source to tokens (cel-spec, doc/langdef.md, "Syntax")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_LENGTH: Final = 4_096
RESERVED: Final = frozenset({
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "namespace",
    "package", "return", "var", "void", "while",
})  # fmt: skip
_INT64: Final = 1 << 63

_ESCAPE = r"\\(?:[abfnrtv\\?\"'`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"
_STRING = (
    rf"""[bB]?(?:[rR](?:'''(?s:.*?)'''|\"\"\"(?s:.*?)\"\"\"|'[^'\r\n]*'|"[^"\r\n]*")"""
    rf"""|'''(?:{_ESCAPE}|[^\\])*?'''|\"\"\"(?:{_ESCAPE}|[^\\])*?\"\"\""""
    rf"""|'(?:{_ESCAPE}|[^'\\\r\n])*'|"(?:{_ESCAPE}|[^"\\\r\n])*")"""
)
_TOKEN: Final = re.compile(
    rf"""(?P<space>[\t\n\f\r ]+|//[^\n]*)
    |(?P<string>{_STRING})
    |(?P<double>(?:[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)(?![0-9A-Za-z_]))
    |(?P<int>(?:0x[0-9a-fA-F]+|[0-9]+)(?P<unsigned>[uU])?(?![0-9A-Za-z_]))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<operator>==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{{}}])""",
    re.VERBOSE | re.ASCII,
)
_SIMPLE_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class ExpressionError(ValueError):
    """The source is no CEL expression; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is ``string``, ``bytes``, ``int``, ``uint``, ``double``, ``name``, the operator itself or ``end``."""

    kind: str
    text: str
    start: int
    end: int
    value: str | int | float | None = None


def tokenize(source: str) -> list[Token]:
    """All tokens of ``source`` and a closing ``end``.

    Raises:
        ExpressionError: A character, string or number that CEL does not know, or too long a source.
    """
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH} characters")
    return list(_tokens(source))


def _tokens(source: str) -> Iterator[Token]:
    position = 0
    while position < len(source):
        found = _TOKEN.match(source, position)
        if found is None:
            raise ExpressionError(_unknown(source, position))
        position = found.end()
        kind, text = found.lastgroup or "", found[0]
        if kind != "space":
            yield _token(kind, text, found)
    yield Token("end", "", position, position)


def _token(kind: str, text: str, found: re.Match[str]) -> Token:
    start, end = found.span()
    match kind:
        case "string":
            raw_bytes = text[0] in "bB"
            return Token("bytes" if raw_bytes else "string", text, start, end, None if raw_bytes else _unquote(text))
        case "double":
            value = float(text)
            if value == float("inf"):
                raise ExpressionError(f"the number {text} is too large")
            return Token("double", text, start, end, value)
        case "int" | "unsigned":
            unsigned = found["unsigned"] is not None
            number = int(text.rstrip("uU") if unsigned else text, 16 if text.startswith("0x") else 10)
            if number > (2 * _INT64 - 1 if unsigned else _INT64):
                raise ExpressionError(f"the number {text} does not fit in 64 bits")
            return Token("uint" if unsigned else "int", text, start, end, number)
        case "name":
            return Token("name", text, start, end)
        case _:
            return Token(text, text, start, end)


def _unknown(source: str, position: int) -> str:
    character = source[position]
    place = f"at character {position + 1}"
    if character in "'\"":
        return f"the string that begins {place} is not closed or holds an unknown escape"
    if character == "=":
        return f"a single = {place} is no CEL, write == to compare"
    if character in "&|":
        return f"a single {character} {place} is no CEL, write {character * 2}"
    return f"{character!r} {place} is no CEL"


def _unquote(text: str) -> str:
    raw = text[0] in "rR"
    body = text[1:] if raw else text
    width = 3 if body[:3] in {"'''", '"""'} and len(body) >= 6 else 1
    body = body[width:-width]
    return body if raw or "\\" not in body else re.sub(_ESCAPE, _unescape, body)


def _unescape(found: re.Match[str]) -> str:
    escape = found[0][1:]
    if escape[0] in "xXuU":
        return _character(int(escape[1:], 16))
    if escape.isdigit():
        return _character(int(escape, 8))
    return _SIMPLE_ESCAPES.get(escape, escape)


def _character(code: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ExpressionError(f"the escape for code point {code:#x} is no Unicode character")
    return chr(code)
