"""Text to model: a rule document read, checked and frozen (contract, §3).

``examine`` gives the model and everything worth saying about the text; ``parse`` gives the model or raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from graymw.core.document import parsing, reading, short
from graymw.core.document.canonical import canonical_text, mapping_of, revision_of
from graymw.core.document.reading import format_of, format_of_text
from graymw.core.document.tree import Cursor, Problems
from graymw.core.model import RuleDocument
from graymw.errors import Problem, RulesError

__all__ = [
    "SCHEMA_PATH",
    "Examination",
    "canonical_text",
    "examine",
    "examine_short_form",
    "format_of",
    "format_of_text",
    "mapping_of",
    "parse",
    "revision_of",
    "short_form",
    "yaml_of",
]


SCHEMA_PATH: Final = Path(__file__).with_name("rules.schema.json")
"""JSON Schema of the document, for editors; ``examine`` finds more."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of a text.

    Attributes:
        document: The model with its revision; None where a problem of severity ``error`` was found.
        problems: Everything found, warnings too, in the order of the text.
    """

    document: RuleDocument | None
    problems: tuple[Problem, ...]


def examine(
    text_or_mapping: str | bytes | Mapping[str, object],
    *,
    format: str | None = None,  # noqa: A002 - the word for it
) -> Examination:
    """Read a rule document and find everything that is wrong with it. Whatever the bytes, this returns.

    Args:
        text_or_mapping: YAML, JSON or TOML text, or a mapping already read.
        format: ``yaml``, ``json`` or ``toml``; found out from the text where None.
    """
    problems = Problems()
    node = reading.read(text_or_mapping, problems, format=format)
    document = RuleDocument() if node is None else parsing.document(Cursor(node, "", problems))
    found = problems.in_order()
    if node is None or any(problem.severity == "error" for problem in found):
        return Examination(None, found)
    return Examination(replace(document, revision=revision_of(document)), found)


def parse(
    text_or_mapping: str | bytes | Mapping[str, object],
    *,
    format: str | None = None,  # noqa: A002 - as above
    origin: str = "",
) -> RuleDocument:
    """Read a rule document.

    Args:
        text_or_mapping: YAML, JSON or TOML text, or a mapping already read.
        format: ``yaml``, ``json`` or ``toml``; found out from the text where None.
        origin: Where it came from, for the error's head line.

    Raises:
        RulesError: It was refused; holds every problem found.
    """
    examined = examine(text_or_mapping, format=format)
    if examined.document is None:
        raise RulesError((p for p in examined.problems if p.severity == "error"), origin=origin)
    return examined.document


def yaml_of(document: RuleDocument) -> str:
    """The document as YAML text, in normal form: every default written out; parses back to an equal model.

    Raises:
        ValueError: As ``mapping_of``.
    """
    from graymw.core.document import yaml_text  # noqa: PLC0415 - brings PyYAML

    return yaml_text.write(mapping_of(document))


def short_form(*, ratio: str | None, when: str | None, gray: str, stable: str) -> dict[str, object]:
    """Document of the short form: one release ``default`` for all services.

    Args:
        ratio: ``GRAYMW_GRAY_RATIO``, a percentage such as ``10%``; None where not set.
        when: ``GRAYMW_GRAY_WHEN``, a CEL expression; None where not set.
        gray: ``GRAYMW_GRAY_VERSION``.
        stable: ``GRAYMW_STABLE_VERSION``.
    """
    return short.mapping(ratio=ratio, when=when, gray=gray, stable=stable)


def examine_short_form(*, ratio: str | None, when: str | None, gray: str, stable: str) -> Examination:
    """As ``examine`` for the document of ``short_form``; problems name the setting instead of a path."""
    faults = tuple(short.version_problems(gray=gray, stable=stable))
    examined = examine(short.mapping(ratio=ratio, when=when, gray="v2", stable="v1"))
    problems = (*short.in_settings(examined.problems), *faults)
    if any(problem.severity == "error" for problem in problems):
        return Examination(None, problems)
    return examine(short.mapping(ratio=ratio, when=when, gray=gray, stable=stable))
