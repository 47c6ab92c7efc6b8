"""The short form: one release named ``default`` out of four settings, without a file (contract, §3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from graymw.core import names
from graymw.core.document.tree import shown
from graymw.errors import Problem

RELEASE: Final = "default"
HEADER: Final = "x-gray-version"

RATIO_SETTING: Final = "GRAYMW_GRAY_RATIO"
WHEN_SETTING: Final = "GRAYMW_GRAY_WHEN"
GRAY_SETTING: Final = "GRAYMW_GRAY_VERSION"
STABLE_SETTING: Final = "GRAYMW_STABLE_VERSION"

_SETTINGS: Final = (
    (re.compile(r"\.when$"), WHEN_SETTING),
    (re.compile(r"\.split\b"), RATIO_SETTING),
    (re.compile(r"\.use$"), GRAY_SETTING),
    (re.compile(r"\.stable$"), STABLE_SETTING),
)


def mapping(*, ratio: str | None, when: str | None, gray: str, stable: str) -> dict[str, object]:
    """The document that the settings stand for.

    Rules: the header ``x-gray-version: true``, then ``when`` and then ``ratio``, as far as they are given.
    """
    rules: list[dict[str, object]] = [{"name": "header", "match": {"header": {HEADER: "true"}}, "use": gray}]
    if when is not None:
        rules.append({"name": "when", "when": when, "use": gray})
    if ratio is not None:
        rules.append({"name": "ratio", "split": {gray: ratio}})
    return {"schema": 1, "releases": {RELEASE: {"stable": stable, "rules": rules}}}


def version_problems(*, gray: str, stable: str) -> Iterator[Problem]:
    """What is wrong with the two versions, told once each and not for every rule that they get into."""
    for setting, version, example in ((GRAY_SETTING, gray, "v2"), (STABLE_SETTING, stable, "v1")):
        if not names.is_version(version):
            yield Problem(setting, f"{shown(version)} cannot name a version", f"write it like {example}")
    if gray == stable:
        yield Problem(
            GRAY_SETTING, f"{shown(gray)} is the stable version, too", f"set it or {STABLE_SETTING} to another"
        )


def in_settings(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems of the short form's document, each at the setting that it comes from."""
    return tuple(replace(problem, path=setting_of(problem.path), line=None) for problem in problems)


def setting_of(path: str) -> str:
    """Setting that a path of the short form's document comes from; ``GRAYMW_GRAY_*`` where it is none in particular."""
    return next((setting for pattern, setting in _SETTINGS if pattern.search(path)), "GRAYMW_GRAY_*")
