"""The ``rules`` list of a release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graymw.core import names
from graymw.core.document import conditions, scalars
from graymw.core.document.tree import Cursor, shown
from graymw.core.model import SHARE_SCALE, Condition, Expression, Rule, Split

_KEYS: Final = ("name", "match", "when", "use", "split")
_CONDITIONS: Final = ("match", "when")
_ELSEWHERE: Final = {
    key: f"put `{key}` under `match`: match: {{{key}: ...}}"
    for key in (
        "header", "cookie", "query", "method", "path", "host", "user", "region", "device", "ip",
        "after", "before", "any", "all", "not",
    )
}  # fmt: skip
_RULE_EXAMPLE: Final = "{name: testers, match: {user: [alice]}, use: v2}"


@dataclass(frozen=True, slots=True)
class ParsedRule:
    """A rule and where it stands; ``rule`` is None where anything in it is wrong.

    ``for_everyone`` holds for a rule that surely has no condition: an unknown key may be a misspelt one.
    """

    cursor: Cursor
    name: str
    for_everyone: bool
    rule: Rule | None


def rules(cursor: Cursor | None, stable: str | None) -> list[ParsedRule]:
    """Rules in the written order. ``rules:`` with nothing below it is an empty list."""
    if cursor is None or cursor.value is None or not cursor.is_list("`rules`", f"rules: [{_RULE_EXAMPLE}]"):
        return []
    found: list[ParsedRule] = []
    first: dict[str, str] = {}
    for index, item in enumerate(cursor.items()):
        if not item.is_mapping("a rule", _RULE_EXAMPLE):
            continue
        item.refuse_unknown(_KEYS, _ELSEWHERE)
        name = _name(item, f"rule-{index + 1}", first)
        for_everyone = not any(key in _CONDITIONS or key not in _KEYS for key, _ in item.members())
        found.append(ParsedRule(item, name, for_everyone, _rule(item, name, stable)))
    return found


def _name(cursor: Cursor, default: str, first: dict[str, str]) -> str:
    """Name of a rule; one that an earlier rule has is reported."""
    member = cursor.member("name")
    place = member or cursor
    name = default if member is None else scalars.text(member, "the rule's name")
    if name is None:
        return default
    if not names.is_label(name):
        place.error(
            "the rule's name is too long or not printable", f"use at most {names.MAX_TEXT} printable characters"
        )
    elif name in first:
        place.error(f"the name {shown(name)} is taken by {first[name]}", "give each rule its own name")
    else:
        first[name] = cursor.path
    return name


def _rule(cursor: Cursor, name: str, stable: str | None) -> Rule | None:
    match = cursor.member("match")
    when = cursor.member("when")
    matched = conditions.match(match) if match else None
    expression = _expression(when) if when else None
    use, split = _outcome(cursor, stable)
    if (match and matched is None) or (when and expression is None) or (use is None and split is None):
        return None
    parts: list[Condition] = [part for part in (matched, expression) if part is not None]
    return Rule(name, conditions.together(parts) if parts else None, use, split)


def _expression(cursor: Cursor) -> Expression | None:
    from graymw.core import cel  # noqa: PLC0415 - brings the CEL library, which few documents need

    source = scalars.text(cursor, "the expression")
    if source is None:
        return None
    faults = cel.problems(source)
    for fault in faults:
        scalars.refuse(cursor, f"bad expression: {fault}", "write CEL such as uid % 10 == 0")
    return None if faults else Expression(source)


def _outcome(cursor: Cursor, stable: str | None) -> tuple[str | None, Split | None]:
    use = cursor.member("use")
    split = cursor.member("split")
    chosen = version(use) if use else None
    shares = _split(split, stable) if split else None
    if use and split:
        cursor.error("both `use` and `split`", "keep one of them")
        return None, None
    if not use and not split:
        cursor.error("neither `use` nor `split`", "add use: VERSION or split: {VERSION: 10%}")
    return chosen, shares


def version(cursor: Cursor) -> str | None:
    """A version's name, None where it is none (reported)."""
    name = scalars.text(cursor, "the version")
    if name is not None and not names.is_version(name):
        refuse_version(name, cursor)
        return None
    return name


def refuse_version(name: str, cursor: Cursor) -> None:
    """Report a text that cannot name a version."""
    cursor.error(
        f"{shown(name)} cannot name a version",
        "use at most 64 letters, digits, dots, hyphens and underscores, a letter or digit first",
    )


def _split(cursor: Cursor, stable: str | None) -> Split | None:
    if not cursor.is_mapping("`split`", "split: {v2: 10%}"):
        return None
    if not cursor.value:
        cursor.error("the split is empty", "name a version and its share: split: {v2: 10%}")
        return None
    shares: list[tuple[str, int]] = []
    sound = True
    for name, member in cursor.members():
        part = scalars.share(member)
        if not names.is_version(name):
            refuse_version(name, member)
            sound = False
        elif name == stable:
            member.error(f"the split names the stable version {name}", "leave it out: the rest stays on stable")
            sound = False
        if part is None:
            sound = False
        else:
            shares.append((name, part))
    total = sum(part for _, part in shares)
    if sound and total > SHARE_SCALE:
        cursor.error(f"the shares add up to {scalars.percentage(total)}", "lower them to 100% together")
        return None
    return Split(tuple(shares)) if sound else None
