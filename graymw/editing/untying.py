"""A YAML tree in which nothing is shared: what anchors, aliases and merge keys stood for is written out."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ruamel.yaml.comments import Comment, CommentedMap, CommentedSeq, Format


def untied(node: Any, values: Any) -> Any:
    """The same tree with everything written out, its comments and layout kept as far as they belong to one place.

    Args:
        node: As the library loaded it.
        values: What it says, as plain values; their order counts.
    """
    if isinstance(values, dict) and isinstance(node, CommentedMap):
        keys = {str(key): key for key in node}
        members = CommentedMap()
        for key, value in values.items():
            found = keys.get(key, key)
            members[found] = untied(node.get(found), value)
        return _as_laid_out(node, members)
    if isinstance(values, list) and isinstance(node, CommentedSeq):
        return _as_laid_out(node, CommentedSeq(map(untied, node, values)))
    anchor = getattr(node, "anchor", None)
    return values if anchor is not None and anchor.value else node


def _as_laid_out(node: Any, made: Any) -> Any:
    for attribute in (Comment.attrib, Format.attrib):
        if hasattr(node, attribute):
            setattr(made, attribute, deepcopy(getattr(node, attribute)))
    return made
