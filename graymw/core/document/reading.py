"""Text of any of the three formats to a tree. Whatever the bytes, the outcome is a tree or problems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from graymw.core.document import plain_values
from graymw.core.document.tree import Node, Problems, kind, nearest

MAX_BYTES: Final = 2 * 1024 * 1024

FORMATS: Final = ("yaml", "json", "toml")
_ALIASES: Final = {"yml": "yaml"}
_TOML_START = re.compile(
    r"(?:[ \t]*+(?:#[^\n]*+)?\r?\n)*+[ \t]*+"
    r"(?:\[\[?[^\[\]{},\n]++\]\]?[ \t]*+(?:#[^\n]*+)?(?:\r?\n|$)"
    r"""|(?:[A-Za-z0-9_.-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+=)"""
)


def format_of(name: str) -> str | None:
    """Format that a file's name tells (``rules.yaml``), None where it tells none."""
    suffix = PurePath(name).suffix.lower().lstrip(".")
    suffix = _ALIASES.get(suffix, suffix)
    return suffix if suffix in FORMATS else None


def format_of_text(text: str) -> str:
    """Format of a document that can be read, by its looks."""
    start = text.lstrip()[:1]
    if _TOML_START.match(text):
        return "toml"
    if start in ("{", "[") and _read_as("json", text, Problems()) is not None:
        return "json"
    return "yaml"


def read(
    source: str | bytes | bytearray | Mapping[str, object],
    problems: Problems,
    *,
    format: str | None = None,  # noqa: A002 - the word for it
) -> Node | None:
    """Tree of a document, None where there is none to speak of; reports every problem found.

    Args:
        source: The text, or a mapping already read.
        problems: Takes what is wrong.
        format: ``yaml``, ``json`` or ``toml``; found out from the text where None.
    """
    if not isinstance(source, str | bytes | bytearray):
        return _mapping(plain_values.read(source, problems), problems)
    text = _decoded(source, problems)
    if text is None:
        return None
    if format is None:
        return _mapping(_sniffed(text, problems), problems)
    wanted = format.lower().lstrip(".")
    wanted = _ALIASES.get(wanted, wanted)
    if wanted not in FORMATS:
        problems.add("", f"unknown format {format!r}", nearest(wanted, FORMATS))
        return None
    return _mapping(_read_as(wanted, text, problems), problems)


def _decoded(source: str | bytes | bytearray, problems: Problems) -> str | None:
    """Text of a document, None where it is none (reported)."""
    if len(source) > MAX_BYTES:
        problems.add(
            "", f"the document is larger than {MAX_BYTES // 1024} KiB", "split it, or keep lists of users elsewhere"
        )
        return None
    try:
        # A str may hold lone surrogates, which no encoding and no parser takes.
        data = source.encode() if isinstance(source, str) else bytes(source)
        return _plausible(data.decode(), problems)
    except UnicodeDecodeError as error:
        data = error.object
        line = data.count(b"\n", 0, error.start) + 1
        told = f"byte {data[error.start]:#04x} is not UTF-8"
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            told = "the document is UTF-16 or UTF-32"
        problems.add("", told, "save the document as UTF-8", line=line)
    except UnicodeEncodeError:
        problems.add("", "the text holds half a surrogate pair", "save the document as UTF-8")
    return None


def _plausible(text: str, problems: Problems) -> str | None:
    """The text without its byte order mark, None where no format could read it (reported)."""
    if text.startswith("\ufeff"):
        problems.add(
            "", "a byte order mark begins the document", "save it as UTF-8 without one", line=1, severity="warning"
        )
        text = text[1:]
    nul = text.find("\0")
    if nul >= 0:
        problems.add("", "the text holds a NUL character", "remove it", line=text.count("\n", 0, nul) + 1)
        return None
    if not text.strip():
        problems.add("", "the document is empty", "write at least `releases: {}`", line=1)
        return None
    return text


def _sniffed(text: str, problems: Problems) -> Node | None:
    start = text.lstrip()
    if start[0] == "{" or (start[0] == "[" and not _TOML_START.match(text)):
        return _json_or_yaml(text, problems)
    return _read_as("toml" if _TOML_START.match(text) else "yaml", text, problems)


def _json_or_yaml(text: str, problems: Problems) -> Node | None:
    """Brackets begin a JSON document, and a YAML one in flow style."""
    as_json = Problems()
    node = _read_as("json", text, as_json)
    if node is None:
        as_yaml = Problems()
        other = _read_as("yaml", text, as_yaml)
        if other is not None:
            problems.take(as_yaml)
            return other
    problems.take(as_json)
    return node


def _read_as(wanted: str, text: str, problems: Problems) -> Node | None:
    # Each format's module brings its parser; most processes need one of them.
    if wanted == "json":
        from graymw.core.document import json_text  # noqa: PLC0415

        return json_text.read(text, problems)
    if wanted == "toml":
        from graymw.core.document import toml_text  # noqa: PLC0415

        return toml_text.read(text, problems)
    from graymw.core.document import yaml_text  # noqa: PLC0415

    return yaml_text.read(text, problems)


def _mapping(node: Node | None, problems: Problems) -> Node | None:
    if node is None:
        return None
    if isinstance(node.value, dict):
        return node
    if node.value is None:
        problems.add("", "the document is empty", "write at least `releases: {}`", line=node.line)
    else:
        problems.add(
            "", f"the document is {kind(node)}, not a mapping", "begin with `schema: 1` and `releases:`", line=node.line
        )
    return None
