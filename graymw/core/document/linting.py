"""What single values cannot show: how many releases there are, who owns a service, labels of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graymw.core import names
from graymw.core.document.rules import ParsedRule
from graymw.core.document.tree import Cursor, nearest, shown
from graymw.core.model import MAX_CARRIED, MAX_RELEASES, Rule


def number_of_releases(releases: Cursor) -> None:
    """Each is a member of the baggage of every request: those that are switched off, too, as all hops must agree."""
    members = [member for _, member in releases.members()]
    if len(members) > MAX_CARRIED:
        members[MAX_CARRIED].error(
            f"there are {len(members)} releases, at most {MAX_CARRIED} fit into the baggage of a request",
            "remove those that are finished",
        )
    enabled = [member for member in members if not _disabled(member)]
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
            service = item.node.raw
            if service and owner.setdefault(service, name) != name:
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
            if complete and name not in known and names.is_version(name) and name in labels.get(service, {}):
                label.warn(f"no rule gives the version {shown(name)}", nearest(name, sorted(filter(None, known))))


def _given(rule: Rule | None) -> Iterator[str]:
    if rule is not None and rule.use is not None:
        yield rule.use
    if rule is not None and rule.split is not None:
        yield from (name for name, _ in rule.split.shares)
