"""One text for equal documents, the revision made of it, and the way from the model back to a document.

The order of rules and of shares decides and is kept; the order of keys, of releases, of services, of conditions in a
conjunction and of values in a list does not and is sorted away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

from graymw.core.document import scalars
from graymw.core.model import (
    AllOf,
    AnyOf,
    Condition,
    Expression,
    Fact,
    Not,
    Release,
    Rule,
    RuleDocument,
    StickyKey,
    Test,
)

REVISION_LENGTH: Final = 8

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def revision_of(document: RuleDocument) -> str:
    """First 8 hex digits of SHA-256 over the canonical text."""
    return hashlib.sha256(canonical_text(document).encode()).hexdigest()[:REVISION_LENGTH]


def canonical_text(document: RuleDocument) -> str:
    """Canonical JSON: equal for documents that say the same, whatever their format and the order of their keys."""
    releases = {release.name: _release(release) for release in document.releases}
    return _dumped({"schema": document.schema, "releases": releases})


def _dumped(value: object) -> str:
    return _ENCODER.encode(value)


def _release(release: Release) -> dict[str, object]:
    """What came later stands only where it differs from its default, so that revisions stay what they were."""
    later = {} if release.min_instances == 1 else {"min_instances": release.min_instances}
    return {
        **later,
        "services": None if release.services is None else sorted(release.services),
        "stable": release.stable,
        "fallback": release.fallback,
        "sticky": [[key.fact.kind, key.fact.name, key.issue] for key in release.sticky],
        "seed": release.seed,
        "enabled": release.enabled,
        "versions": {service: dict(labels) for service, labels in release.versions.items()},
        "rules": [_rule(rule) for rule in release.rules],
    }


def _rule(rule: Rule) -> list[object]:
    return [
        rule.name,
        None if rule.condition is None else _condition(rule.condition),
        rule.use,
        None if rule.split is None else [list(share) for share in rule.split.shares],
    ]


def _condition(condition: Condition) -> list[object]:
    match condition:
        case Test(fact, operator, operand):
            unordered = operator in {"in", "cidr"} and isinstance(operand, tuple)
            plain = sorted(str(value) for value in operand) if unordered and isinstance(operand, tuple) else operand
            return ["test", fact.kind, fact.name, operator, plain]
        case AllOf(conditions):
            return ["all", *_sorted(conditions)]
        case AnyOf(conditions):
            return ["any", *_sorted(conditions)]
        case Not(inner):
            return ["not", _condition(inner)]
        case Expression(source):
            return ["when", source]


def _sorted(conditions: Sequence[Condition]) -> list[object]:
    by_text = {_dumped(plain): plain for plain in map(_condition, conditions)}
    return [by_text[text] for text in sorted(by_text)]


def mapping_of(document: RuleDocument) -> dict[str, object]:
    """The document in plain dicts, lists and scalars, as one would write it; parses back to an equal model.

    Raises:
        ValueError: A condition that no document can express (an expression inside ``any`` or ``not``); parsing makes
            none.
    """
    return {
        "schema": document.schema,
        "releases": {release.name: _release_mapping(release) for release in document.releases},
    }


def _release_mapping(release: Release) -> dict[str, object]:
    made: dict[str, object] = {}
    if release.services is not None:
        made["services"] = list(release.services)
    made["stable"] = release.stable
    made["fallback"] = release.fallback
    if release.min_instances != 1:
        made["min_instances"] = release.min_instances
    made["sticky"] = [_sticky(key) for key in release.sticky]
    made["seed"] = release.seed
    made["enabled"] = release.enabled
    if release.versions:
        made["versions"] = {service: dict(labels) for service, labels in release.versions.items()}
    made["rules"] = [_rule_mapping(rule) for rule in release.rules]
    return made


def _sticky(key: StickyKey) -> str:
    return "cookie" if key.issue else str(key.fact)


def _rule_mapping(rule: Rule) -> dict[str, object]:
    made: dict[str, object] = {"name": rule.name}
    tests, expression = _parted(rule.condition)
    if tests:
        made["match"] = _match(tests[0] if len(tests) == 1 else AllOf(tests))
    if expression is not None:
        made["when"] = expression
    if rule.use is not None:
        made["use"] = rule.use
    if rule.split is not None:
        made["split"] = {name: scalars.percentage(share) for name, share in rule.split.shares}
    return made


def _parted(condition: Condition | None) -> tuple[tuple[Condition, ...], str | None]:
    """What belongs into ``match``, and the expression of ``when``."""
    if condition is None:
        return (), None
    parts = condition.conditions if isinstance(condition, AllOf) else (condition,)
    if parts and isinstance(parts[-1], Expression):
        return parts[:-1], parts[-1].source
    return parts, None


def _match(condition: Condition) -> dict[str, object]:
    match condition:
        case Test(fact, operator, operand):
            return _test(fact, operator, operand)
        case AllOf(conditions):
            return _merged([_match(part) for part in conditions])
        case AnyOf(conditions):
            return {"any": [_match(part) for part in conditions]}
        case Not(inner):
            return {"not": _match(inner)}
        case Expression():
            raise ValueError("an expression can only stand beside `match`, not inside it")


def _test(fact: Fact, operator: str, operand: object) -> dict[str, object]:
    if fact.kind == "time":
        if not isinstance(operand, int | float) or operator not in {"ge", "lt"}:
            raise ValueError(f"no document can express time {operator} {operand!r}")
        return {"after" if operator == "ge" else "before": scalars.rfc3339(operand)}
    plain: object = list(operand) if isinstance(operand, tuple) else operand
    value = plain if operator in {"exact", "in"} else {operator: plain}
    return {fact.kind: {fact.name: value} if fact.name else value}


def _merged(parts: list[dict[str, object]]) -> dict[str, object]:
    """One mapping of all parts where that keeps their order and loses none, else an ``all`` list."""
    made: dict[str, object] = {}
    last = ""
    for part in parts:
        ((key, value),) = part.items()
        before = made.get(key)
        if before is None:
            made[key] = value
        elif key == last and key in {"header", "cookie", "query"} and _disjoint(before, value):
            made[key] = {**_names(before), **_names(value)}
        else:
            return {"all": parts}
        last = key
    return made


def _names(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _disjoint(one: object, other: object) -> bool:
    return not set(_names(one)) & set(_names(other))
