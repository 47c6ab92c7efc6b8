"""What a document would do to many requests: shares reached against shares asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from graymw.core.context import Decision, GrayContext, Reason
from graymw.core.facts import RequestFacts
from graymw.core.model import SHARE_SCALE, Fact, Release, Split
from graymw.core.ruleset import RuleSet
from graymw.core.shares import ranges
from graymw.core.sticking import GRAY_ID

Progress = Callable[[int], object]
"""Told how many requests are done, about a hundred times."""

_STEPS: Final = 100


@dataclass(frozen=True, slots=True)
class VersionShare:
    """A version's part of some requests.

    Attributes:
        share: 0 to 1.
        asked: The share that the rule says, None where no rule says any.
        error: Standard error of ``share`` if the share asked for is the true one; of the estimate where none was.
    """

    version: str
    count: int
    share: float
    asked: float | None
    error: float

    @property
    def deviation(self) -> float:
        """Distance from what was asked for, in standard errors; 0 where nothing was."""
        if self.asked is None or self.share == self.asked:
            return 0.0
        return abs(self.share - self.asked) / self.error if self.error else math.inf


@dataclass(frozen=True, slots=True)
class RuleShare:
    """What one rule decided, or what no rule did.

    Attributes:
        rule: None for the requests that no rule decided.
        share: Of all requests of the simulation.
        versions: Of this rule's requests, in the order of its split.
    """

    rule: str | None
    reason: Reason
    count: int
    share: float
    versions: tuple[VersionShare, ...]


@dataclass(frozen=True, slots=True)
class ReleaseShare:
    """One release: its versions over all requests, and its rules in order, those that decided nothing too."""

    release: str
    stable: str
    versions: tuple[VersionShare, ...]
    rules: tuple[RuleShare, ...]


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """Attributes: ``requests`` is how many were decided."""

    revision: str
    requests: int
    releases: tuple[ReleaseShare, ...]


def simulate(
    ruleset: RuleSet,
    requests: int,
    *,
    given: RequestFacts | None = None,
    make: Callable[[int], RequestFacts] | None = None,
    progress: Progress | None = None,
) -> SimulationReport:
    """Decide ``requests`` synthetic requests and count.

    Args:
        given: Facts that all requests have; each gets a key of its own for every sticky fact not among them, the
            user being a decimal number.
        make: Makes the request with a number from 1 on, in place of ``given``.
    """
    make = make or synthetic(ruleset, given or RequestFacts())
    counts: Counter[GrayContext] = Counter()
    step = max(1, requests // _STEPS)
    for number in range(1, requests + 1):
        counts[ruleset.decide(make(number))] += 1
        if progress is not None and (number % step == 0 or number == requests):
            progress(number)
    decided: Counter[Decision] = Counter()
    for context, count in counts.items():
        for decision in context.decisions.values():
            decided[decision] += count
    releases = tuple(_release_share(release, decided, requests) for release in ruleset.document.releases)
    return SimulationReport(ruleset.revision, requests, releases)


def synthetic(
    ruleset: RuleSet, given: RequestFacts, *, keys: Iterable[Fact] | None = None
) -> Callable[[int], RequestFacts]:
    """Function that makes requests which differ in their keys alone.

    Args:
        given: Facts that all requests have.
        keys: What differs, as far as it is not given; None: the user, and whatever the releases are sticky by.
    """
    sticky = {key.fact for release in ruleset.document.releases for key in release.sticky} | {Fact("user")}
    if keys is not None:
        sticky = set(keys)
    named = sorted((fact for fact in sticky if fact.name), key=str)
    plain = sorted(fact.kind for fact in sticky if not fact.name and getattr(given, fact.kind) is None)

    def make(number: int) -> RequestFacts:
        maps = {"header": dict(given.headers), "cookie": dict(given.cookies), "query": dict(given.query)}
        for fact in named:
            maps[fact.kind].setdefault(fact.name, f"visitor-{number:08}" if fact == GRAY_ID else f"key-{number}")
        facts = RequestFacts(
            method=given.method,
            path=given.path,
            host=given.host,
            headers=maps["header"],
            cookies=maps["cookie"],
            query=maps["query"],
            user=given.user,
            region=given.region,
            device=given.device,
            ip=given.ip,
        )
        for kind in plain:
            setattr(facts, kind, _address(number) if kind == "ip" else str(number))
        return facts

    return make


def _address(number: int) -> str:
    """Addresses of 10.0.0.0/8 in turn."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _release_share(release: Release, decided: Counter[Decision], requests: int) -> ReleaseShare:
    own = {decision: count for decision, count in decided.items() if decision.release == release.name}
    versions: Counter[str] = Counter()
    for decision, count in own.items():
        versions[decision.version] += count
    ordered = sorted(versions, key=lambda version: (version == release.stable, version))
    return ReleaseShare(
        release=release.name,
        stable=release.stable,
        versions=tuple(_version_share(version, versions[version], requests, None) for version in ordered),
        rules=tuple(_rule_shares(release, own, requests)),
    )


def _rule_shares(release: Release, own: dict[Decision, int], requests: int) -> Iterator[RuleShare]:
    for rule in release.rules if release.enabled else ():
        asked = dict.fromkeys([rule.use or release.stable], 1.0) if rule.split is None else _asked(release, rule.split)
        reason: Reason = "match" if rule.split is None else "split"
        yield _rule_share(rule.name, reason, asked, own, requests)
    for reason in ("default", "disabled", "error"):
        share = _rule_share(None, reason, {release.stable: 1.0}, own, requests)
        if share.count:
            yield share


def _asked(release: Release, split: Split) -> dict[str, float]:
    """Share of each version, in the order of the split."""
    asked = dict.fromkeys((version for version, _ in split.shares), 0.0)
    previous = 0
    for found in ranges(split, release.stable):
        asked[found.version] = asked.get(found.version, 0.0) + (found.bound - previous) / SHARE_SCALE
        previous = found.bound
    return asked


def _rule_share(
    rule: str | None, reason: Reason, asked: dict[str, float], own: dict[Decision, int], requests: int
) -> RuleShare:
    counts: Counter[str] = Counter()
    for decision, count in own.items():
        if decision.rule == rule and decision.reason == reason:
            counts[decision.version] += count
    total = counts.total()
    versions = tuple(_version_share(version, counts[version], total, share) for version, share in asked.items())
    return RuleShare(rule, reason, total, total / requests if requests else 0.0, versions)


def _version_share(version: str, count: int, total: int, asked: float | None) -> VersionShare:
    share = count / total if total else 0.0
    true = share if asked is None else asked
    error = math.sqrt(max(0.0, true * (1 - true)) / total) if total else 0.0
    # Nothing drawn says nothing against what was asked for.
    return VersionShare(version, count, share if total else asked or 0.0, asked, error)
