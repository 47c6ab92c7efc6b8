"""What single values cannot show: ownership of services, rules that nothing reaches, labels of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from graymw.core.document.rules import ParsedRule
from graymw.core.document.tree import Cursor, nearest, shown
from graymw.core.model import MAX_RELEASES, AllOf, AnyOf, Condition, Fact, Rule, Test

# Rules that look alike are compared with each other; far more than people write, far less than would take a second.
_MAX_COMPARISONS: Final = 100_000


def number_of_releases(releases: Cursor) -> None:
    """At most ``MAX_RELEASES`` enabled releases: each is a member of the baggage of every request."""
    enabled = [member for _, member in releases.members() if not _disabled(member)]
    if len(enabled) > MAX_RELEASES:
        enabled[MAX_RELEASES].error(
            f"{len(enabled)} releases are enabled, at most {MAX_RELEASES} may be",
            "remove those that are finished, or write `enabled: false`",
        )


def _disabled(release: Cursor) -> bool:
    enabled = release.member("enabled")
    return enabled is not None and enabled.value is False


def owners(releases: Cursor) -> None:
    """A service belongs to one release, and one release at most takes the rest."""
    owner: dict[str, str] = {}
    rest: str | None = None
    for name, release in releases.members():
        if not isinstance(release.value, dict):
            continue
        services = release.member("services")
        if services is None:
            if rest is not None:
                release.error(f"`services` is missing here as in release {rest}", "name the services of one of the two")
            rest = rest or name
            continue
        for item in services.items():
            service = item.value
            if isinstance(service, str) and owner.setdefault(service, name) != name:
                item.error(
                    f"the service {shown(service)} belongs to release {owner[service]} already",
                    "keep it in one of the two",
                )


def versions(
    release: Cursor,
    services: tuple[str, ...] | None,
    labels: Mapping[str, Mapping[str, str]],
    stable: str | None,
    rules: Sequence[ParsedRule],
) -> None:
    """Labels belong to services of the release; labels of a version that no rule gives are worth a warning."""
    versions = release.member("versions")
    if versions is None:
        return
    known = {stable, *(name for parsed in rules for name in _given(parsed.rule))}
    complete = stable is not None and all(parsed.rule is not None for parsed in rules)
    for service, member in versions.members():
        if services is not None and service not in services:
            member.error(f"{shown(service)} is no service of this release", nearest(service, services))
        for name, label in member.members():
            if complete and name not in known and name in labels.get(service, {}):
                label.warn(f"no rule gives the version {shown(name)}", nearest(name, sorted(filter(None, known))))


def _given(rule: Rule | None) -> Iterator[str]:
    if rule is not None and rule.use is not None:
        yield rule.use
    if rule is not None and rule.split is not None:
        yield from (name for name, _ in rule.split.shares)


def reachability(rules: Sequence[ParsedRule]) -> None:
    """A rule is never reached behind one without a condition, or behind one that holds whenever it does."""
    for_all: str | None = None
    seen: dict[object, list[Rule]] = {}
    left = _MAX_COMPARISONS
    for parsed in rules:
        rule = parsed.rule
        if for_all is not None:
            parsed.cursor.error(f"never reached: {shown(for_all)} before it is for everyone", "move it up or remove it")
            continue
        if rule is None:
            continue
        if rule.condition is None:
            for_all = rule.name
            continue
        if contradicts(rule.condition):
            parsed.cursor.error(
                "never holds: two of its tests exclude each other", "use `any` where one of them suffices"
            )
            continue
        for earlier in _candidates(rule.condition, seen):
            left -= 1
            if left < 0:
                return
            if earlier.condition is not None and implies(rule.condition, earlier.condition):
                parsed.cursor.error(
                    f"never reached: {shown(earlier.name)} before it holds whenever this does",
                    "move it up or remove it",
                )
                break
        else:
            _remember(rule, seen)


def _parts(condition: Condition) -> tuple[Condition, ...]:
    return condition.conditions if isinstance(condition, AllOf) else (condition,)


def _values(condition: Condition) -> tuple[str, ...] | None:
    """Values that an equality allows, None for any other condition."""
    if isinstance(condition, Test):
        if condition.operator == "exact" and isinstance(condition.operand, str):
            return (condition.operand,)
        if condition.operator == "in" and isinstance(condition.operand, tuple):
            return tuple(str(value) for value in condition.operand)
    return None


def _clues(part: Condition) -> Iterator[object]:
    """What a condition has in common with every one that it implies or that implies it."""
    values = _values(part)
    if values is not None and isinstance(part, Test):
        for value in values:
            yield part.fact, value
    elif isinstance(part, AnyOf):
        for branch in part.conditions:
            yield from _clues(_parts(branch)[0])
    yield part


def _remember(rule: Rule, seen: dict[object, list[Rule]]) -> None:
    """File a rule under the clues of one of its parts: what implies the rule implies that part, too."""
    if rule.condition is not None:
        for clue in _clues(_parts(rule.condition)[0]):
            seen.setdefault(clue, []).append(rule)


def _candidates(condition: Condition, seen: Mapping[object, list[Rule]]) -> Iterator[Rule]:
    """Earlier rules that may hold whenever this does."""
    told: set[int] = set()
    for part in _parts(condition):
        for clue in _clues(part):
            for rule in seen.get(clue, ()):
                if id(rule) not in told:
                    told.add(id(rule))
                    yield rule


def implies(narrow: Condition, wide: Condition) -> bool:
    """Whether ``wide`` surely holds wherever ``narrow`` does. False also where that is not obvious."""
    if narrow == wide:
        return True
    if isinstance(narrow, AnyOf):
        return all(implies(branch, wide) for branch in narrow.conditions)
    if isinstance(wide, AllOf):
        return all(implies(narrow, part) for part in wide.conditions)
    if isinstance(wide, AnyOf) and any(implies(narrow, branch) for branch in wide.conditions):
        return True
    if isinstance(narrow, AllOf):
        return any(implies(part, wide) for part in narrow.conditions)
    return _narrower(narrow, wide)


def _narrower(narrow: Condition, wide: Condition) -> bool:
    if not isinstance(narrow, Test) or not isinstance(wide, Test) or narrow.fact != wide.fact:
        return False
    inner = _values(narrow)
    outer = _values(wide)
    if inner is None:
        return False
    if wide.operator == "exists":
        return wide.operand is True
    return outer is not None and set(inner) <= set(outer)


def contradicts(condition: Condition) -> bool:
    """Whether two equalities of one conjunction leave no value at all."""
    allowed: dict[Fact, set[str]] = {}
    for part in _parts(condition):
        values = _values(part)
        if values is not None and isinstance(part, Test):
            allowed[part.fact] = allowed.get(part.fact, set(values)) & set(values)
            if not allowed[part.fact]:
                return True
    return False
