"""A document's text as a tree that can be changed, and back to text with its comments, order and layout kept."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TypeAlias

from graymw.core.document import format_of_text
from graymw.errors import MissingExtraError, SourceError

Tree: TypeAlias = MutableMapping[str, Any]

_WIDTH: Final = 4_096
"""Columns before YAML lines are folded: never, as nobody asked for it."""

_SEQUENCE: Final = re.compile(
    r"^(?P<key> *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*(?P<item> *)- ", re.MULTILINE
)
_INDENT: Final = re.compile(r"^\{\s*\n( +)\"")


def edited(text: str, format: str | None, edit: Callable[[Tree], object]) -> str:  # noqa: A002 - the word for it
    """The text after a change of its tree.

    Args:
        text: A document that can be read.
        format: ``yaml``, ``json`` or ``toml``; found out from the text where None.
        edit: Changes the tree in place.

    Raises:
        SourceError: The text cannot be read as this format.
        MissingExtraError: The library that keeps this format's layout is not installed.
    """
    change = _CHANGES[format or format_of_text(text)]
    return change(text, edit)


def _yaml(text: str, edit: Callable[[Tree], object]) -> str:
    try:
        from ruamel.yaml import YAML  # noqa: PLC0415 - 60 ms that only a change needs
        from ruamel.yaml.error import YAMLError  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("ruamel.yaml", "edit") from None
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    indented = _SEQUENCE.search(text)
    offset = len(indented["item"]) - len(indented["key"]) if indented else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    try:
        tree = yaml.load(text)
    except YAMLError as error:
        raise SourceError(f"the document is no YAML that can be changed: {error}") from error
    edit(tree)
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _json(text: str, edit: Callable[[Tree], object]) -> str:
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise SourceError(f"the document is no JSON that can be changed: {error}") from error
    edit(tree)
    indent = _INDENT.match(text)
    width = len(indent[1]) if indent else 2
    return json.dumps(tree, indent=width if "\n" in text.strip() else None, ensure_ascii=False) + "\n" * text.endswith(
        "\n"
    )


def _toml(text: str, edit: Callable[[Tree], object]) -> str:
    try:
        import tomlkit  # noqa: PLC0415 - only a change needs it
        from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("tomlkit", "edit") from None
    try:
        tree = tomlkit.parse(text)
    except TOMLKitError as error:
        raise SourceError(f"the document is no TOML that can be changed: {error}") from error
    edit(tree)
    return tomlkit.dumps(tree)


_CHANGES: Final[dict[str, Callable[[str, Callable[[Tree], object]], str]]] = {
    "yaml": _yaml,
    "json": _json,
    "toml": _toml,
}
