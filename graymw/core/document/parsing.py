"""The tree to releases: every key of the document and of a release; rules are in ``rules.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar, cast, get_args

from graymw.core import names
from graymw.core.document import linting, reachability, rules, scalars
from graymw.core.document.tree import Cursor, kind, nearest, shown
from graymw.core.model import Fact, FactKind, Fallback, Release, RuleDocument, StickyKey

SCHEMA: Final = 1
ISSUED_COOKIE: Final = "gray_id"
DEFAULT_STICKY: Final = (StickyKey(Fact("user")), StickyKey(Fact("cookie", ISSUED_COOKIE), issue=True))

_DOCUMENT_KEYS: Final = ("schema", "releases")
_RELEASE_KEYS: Final = (
    "services", "stable", "fallback", "min_instances", "sticky", "seed", "enabled", "versions", "rules",
)  # fmt: skip
_MAX_INSTANCES: Final = 10_000
_RELEASES_EXAMPLE: Final = "releases: {checkout: {stable: v1, rules: []}}"
_STICKY: Final = ("user", "cookie", "ip", "header:NAME", "cookie:NAME", "query:NAME")

_T = TypeVar("_T")


def document(cursor: Cursor) -> RuleDocument:
    """Model of a tree, without a revision. Of use only where no problem of severity ``error`` was reported."""
    cursor.refuse_unknown(_DOCUMENT_KEYS, {"release": "did you mean releases?"} | _misplaced(_RELEASE_KEYS))
    _schema(cursor)
    releases = cursor.member("releases")
    if releases is None:
        cursor.error("`releases` is missing", f"write {_RELEASES_EXAMPLE}, or `releases: {{}}` for none")
        return RuleDocument()
    if not releases.is_mapping("`releases`", _RELEASES_EXAMPLE):
        return RuleDocument()
    found = [_release(name, member) for name, member in releases.members()]
    linting.number_of_releases(releases)
    linting.owners(releases)
    return RuleDocument(tuple(release for release in found if release is not None))


def _misplaced(keys: Iterable[str]) -> dict[str, str]:
    return {key: f"put `{key}` into a release: releases: {{NAME: {{{key}: ...}}}}" for key in keys}


def _schema(cursor: Cursor) -> None:
    schema = cursor.member("schema")
    if schema is None:
        cursor.warn("`schema` is missing, 1 is taken", "add `schema: 1` as first line")
    elif type(schema.value) is not int or schema.value != SCHEMA:
        schema.error(f"the schema is {kind(schema.node)}, but only {SCHEMA} is known", f"write `schema: {SCHEMA}`")


def _release(name: str, cursor: Cursor) -> Release | None:
    if not names.is_release(name):
        cursor.error(
            f"{shown(name)} cannot name a release", "use at most 63 of a-z, 0-9 and hyphen, a letter or digit first"
        )
    if not cursor.is_mapping("a release", "checkout: {stable: v1, rules: []}"):
        return None
    cursor.refuse_unknown(_RELEASE_KEYS, _misplaced_rule_keys())
    stable = cursor.member("stable")
    if stable is None:
        cursor.error("`stable` is missing", "name the version that everyone else gets: stable: v1")
    stable_version = rules.version(stable) if stable else None
    services = _given(cursor, "services", _services, None)
    parsed = rules.rules(cursor.member("rules"), stable_version)
    no_labels: dict[str, dict[str, str]] = {}
    versions = _given(cursor, "versions", _versions, no_labels) or no_labels
    linting.versions(cursor, services, versions, stable_version, parsed)
    reachability.report_unreachable(parsed)
    return Release(
        name=name,
        stable=stable_version or "",
        services=services,
        fallback=_given(cursor, "fallback", _fallback, "stable") or "stable",
        sticky=_given(cursor, "sticky", _sticky, DEFAULT_STICKY) or (),
        seed=_given(cursor, "seed", _seed, name) or name,
        enabled=_given(cursor, "enabled", lambda member: scalars.truth(member, "`enabled`"), True) is not False,
        versions=_frozen(versions),
        rules=tuple(rule.rule for rule in parsed if rule.rule is not None),
        min_instances=_given(cursor, "min_instances", _min_instances, 1) or 1,
    )


def _misplaced_rule_keys() -> dict[str, str]:
    return {key: f"put `{key}` into a rule: rules: [{{{key}: ...}}]" for key in ("match", "when", "use", "split")}


def _given(cursor: Cursor, key: str, read: Callable[[Cursor], _T | None], default: _T) -> _T | None:
    member = cursor.member(key)
    return default if member is None else read(member)


def _services(cursor: Cursor) -> tuple[str, ...] | None:
    if not cursor.is_list("`services`", "services: [orders, payments]"):
        return None
    if not cursor.value:
        cursor.error("`services` is empty", "name one, or leave the key out to govern every other service")
        return None
    found: list[str] = []
    for item in cursor.items():
        name = scalars.text(item, "the service")
        if name is None:
            continue
        if not names.is_service(name):
            item.error(f"{shown(name)} cannot name a service", "use at most 128 letters, digits and ._:/@-")
        elif name in found:
            item.error(f"the service {shown(name)} stands twice", "keep one")
        else:
            found.append(name)
    return tuple(found)


def _fallback(cursor: Cursor) -> Fallback | None:
    value = scalars.text(cursor, "`fallback`")
    if value is None:
        return None
    if value not in get_args(Fallback):
        cursor.error(f"unknown fallback {shown(value)}", nearest(value, get_args(Fallback)))
        return None
    return cast("Fallback", value)


def _min_instances(cursor: Cursor) -> int | None:
    value = cursor.value
    if type(value) is not int or not 1 <= value <= _MAX_INSTANCES:
        cursor.error(
            f"`min_instances` must be a whole number from 1 to {_MAX_INSTANCES}, not {kind(cursor.node)}",
            "write how many fit instances a version needs, such as 2",
        )
        return None
    return value


def _seed(cursor: Cursor) -> str | None:
    value = scalars.text(cursor, "the seed")
    if value is not None and not names.is_label(value):
        cursor.error("the seed is too long or not printable", f"use at most {names.MAX_TEXT} printable characters")
        return None
    return value


def _sticky(cursor: Cursor) -> tuple[StickyKey, ...] | None:
    if not cursor.is_list("`sticky`", "sticky: [user, cookie]"):
        return None
    found: list[StickyKey] = []
    for item in cursor.items():
        written = scalars.text(item, "the sticky key")
        key = None if written is None else _sticky_key(written, item)
        if key in found:
            item.error(f"the sticky key {shown(written)} stands twice", "keep one")
        elif key is not None:
            found.append(key)
    return tuple(found)


def _sticky_key(written: str, cursor: Cursor) -> StickyKey | None:
    if written == "cookie":
        return StickyKey(Fact("cookie", ISSUED_COOKIE), issue=True)
    if written in {"user", "ip"}:
        return StickyKey(Fact(cast("FactKind", written)))
    what, colon, name = written.partition(":")
    if not colon or what not in {"header", "cookie", "query"}:
        mend = f"write {what}:NAME" if written in {"header", "query"} else nearest(written, _STICKY)
        cursor.error(f"unknown sticky key {shown(written)}", mend)
        return None
    if not name or (what == "header" and not names.is_header(name)):
        cursor.error(f"{shown(written)} names no {what}", f"write it like {what}:x-account")
        return None
    return StickyKey(Fact(cast("FactKind", what), name.lower() if what == "header" else name))


def _versions(cursor: Cursor) -> dict[str, dict[str, str]] | None:
    """Labels by service and version; a label equal to its version says nothing and is dropped."""
    if not cursor.is_mapping("`versions`", 'versions: {payments: {v2: "3.2"}}'):
        return None
    found: dict[str, dict[str, str]] = {}
    for service, member in cursor.members():
        if not names.is_service(service):
            member.error(f"{shown(service)} cannot name a service", "use at most 128 letters, digits and ._:/@-")
        if not member.is_mapping("labels of a service", '{v2: "3.2"}'):
            continue
        labels: dict[str, str] = {}
        for name, label in member.members():
            if not names.is_version(name):
                rules.refuse_version(name, label)
            text = rules.version(label)
            if text is not None and text != name:
                labels[name] = text
        if labels:
            found[service] = labels
    return found


def _frozen(versions: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    return MappingProxyType({service: MappingProxyType(dict(labels)) for service, labels in versions.items()})
