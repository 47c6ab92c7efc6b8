"""The rule file of the demo, and the two edits that are made to it while everything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from graymw import load_rules
from graymw.demo.people import RELEASE, User
from graymw.errors import RulesError

_SHARE: Final = re.compile(r"(split: \{v2: )[^}]*")
BROKEN_SHARE: Final = "500%"
"""A slip of the finger: 50% was meant."""
BROKEN_PATH: Final = "rules[3].split"
"""Where that stands in the document, as every message about it says."""


def with_share(text: str, share: str) -> str:
    """The document with another share in its split."""
    edited, count = _SHARE.subn(rf"\g<1>{share}", text)
    if count != 1:
        raise ValueError(f"one split on v2 is expected in the rule document, there are {count}")
    return edited


def revision(path: Path) -> str:
    """Revision of the document."""
    return str(load_rules(path).document.revision)


def problems(path: Path) -> list[str]:
    """What is wrong with the document, one line each; empty where nothing is."""
    try:
        load_rules(path)
    except RulesError as error:
        return [str(problem) for problem in error.problems]
    return []


def expected(path: Path, users: Iterable[User]) -> dict[str, tuple[str, str]]:
    """Version and rule by user id, decided here and now by the public API, without any service."""
    rules = load_rules(path)
    found: dict[str, tuple[str, str]] = {}
    for user in users:
        decision = rules.decide(user.facts).decisions[RELEASE]
        found[user.uid] = decision.version, decision.rule or ""
    return found
