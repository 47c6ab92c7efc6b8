"""Who changed a document, when and why, in a comment at its end: Nacos' own history has no place for it.

A document and its story are one configuration, so that both are written or neither, and the history that Nacos keeps
anyway holds them together. People see the line in the console. JSON has no comments; its changes go without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Final

from graymw.runtime.ports import Change

_MARK: Final = "# graymw: "


def with_story(change: Change) -> str:
    """The document with a last line that tells of the change; a JSON document as it is."""
    if change.text.lstrip().startswith(("{", "[")):
        return change.text
    is_open = not change.text.endswith("\n")
    story = {
        "who": change.who,
        "what": change.what,
        "why": change.why,
        "at": change.at,
        "revision": change.revision,
        "of": _sum(change.text),
        **({"open": True} if is_open else {}),
    }
    line = "".join(map(_safe, json.dumps(story, ensure_ascii=False)))
    return "".join([change.text, "\n" if is_open else "", _MARK, line, "\n"])


def without_story(text: str) -> str:
    """The document alone."""
    return _parted(text)[0]


def story_of(text: str) -> Change | None:
    """The change that a document tells of; None where it tells of none, or was edited by another hand since."""
    document, line = _parted(text)
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        story = json.loads(line)
        if story["of"] == _sum(document):
            told = {key: str(story[key]) for key in ("who", "what", "why", "revision")}
            return Change(document, at=float(story["at"]), **told)
    return None


def _parted(text: str) -> tuple[str, str]:
    """The document and what follows the mark in its last line; empty without one."""
    start = text.rfind(f"\n{_MARK}") + 1 if not text.startswith(_MARK) or f"\n{_MARK}" in text else 0
    line = text[start:]
    if not line.startswith(_MARK) or "\n" in line.rstrip("\n"):
        return text, ""
    document, told = text[:start], line.removeprefix(_MARK).rstrip("\n")
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        if json.loads(told).get("open"):
            document = document.removesuffix("\n")
    return document, told


def _safe(letter: str) -> str:
    """The letter, or its escape where YAML or an encoding would not take it."""
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def _sum(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]
