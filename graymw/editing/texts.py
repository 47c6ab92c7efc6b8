"""A document's text as a tree that can be changed, and back to text with its comments, order and layout kept."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TypeAlias

from graymw.core.document import examine, format_of_text, reading, yaml_text
from graymw.core.document.tree import Node, Problems
from graymw.editing.headings import with_headings
from graymw.errors import SourceError

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
        edit: Changes the tree in place; called again where the text has to be written otherwise than by touching it up.

    Raises:
        SourceError: The text cannot be read as this format.
    """
    change = _CHANGES[format or format_of_text(text)]
    return change(text, edit)


def _yaml(text: str, edit: Callable[[Tree], object]) -> str:
    """Edit YAML. What stands in several places by an anchor is changed only in the one that is meant.

    What the text has to say afterwards is found out by an edit of plain values, which nothing ties to each other.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - 60 ms that only a change needs

    from graymw.editing.untying import untied  # noqa: PLC0415 - brings the same library

    values = _values(text)
    edit(after := _values(text))
    if after == values:
        return text
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    indented = _SEQUENCE.search(text)
    offset = len(indented["item"]) - len(indented["key"]) if indented else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)

    def written(tree: Any) -> str:
        edit(tree)
        out = io.StringIO()
        yaml.dump(tree, out)
        return with_headings(text, out.getvalue()).replace("\n", lines)

    lines = "\r\n" if text.count("\r\n") == text.count("\n") > 0 else "\n"
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    ways: tuple[Callable[[], Any], ...] = (lambda: yaml.load(text), lambda: untied(yaml.load(text), values))
    for way in ways:
        with contextlib.suppress(Exception):  # what could be done to plain values fails for the library's own reasons
            new = written(way())
            if _says(new, after):
                return new
    return yaml_text.write(after)


def _values(text: str) -> Any:
    """What a YAML document says: plain values, of which each stands for itself.

    Raises:
        SourceError: It is none.
    """
    problems = Problems()
    root = reading.read(text, problems, format="yaml")
    errors = [problem for problem in problems.in_order() if problem.severity == "error"]
    if root is None or errors:
        told = "; ".join(
            f"line {problem.line}: {problem.message}" if problem.line else problem.message for problem in errors[:3]
        )
        raise SourceError(f"the document is no YAML that can be changed: {told}")
    return _plain(root)


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(inner) for key, inner in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(inner) for inner in node.value]
    return node.value


def _says(text: str, values: Any) -> bool:
    """Whether a document says this. Order counts where it means something, as in splits."""
    try:
        return bool(_values(text) == values) and examine(text, format="yaml").document == examine(values).document
    except SourceError:
        return False


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
    import tomlkit  # noqa: PLC0415 - only a change needs it
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

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
