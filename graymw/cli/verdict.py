"""Whether the shares that a simulation reached are those asked for, chance allowed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graymw.core.document.scalars import percentage
from graymw.core.facts import RequestFacts
from graymw.core.model import SHARE_SCALE, Release, RuleDocument
from graymw.core.simulating import RuleShare, SimulationReport, VersionShare
from graymw.core.sticking import present_key

LIMIT: Final = 4.0
"""Standard deviations that chance is allowed: once in 16,000 splits it takes more."""


@dataclass(frozen=True, slots=True)
class VersionVerdict:
    """One version of one rule.

    Attributes:
        reached: Its share of the rule's requests, 0 to 1.
        asked: The share that the split says; None where the rule does not split.
        deviations: Distance of the two in standard deviations.
        within: Whether chance explains the distance; None where nothing was asked.
    """

    version: str
    count: int
    reached: float
    asked: float | None = None
    deviations: float = 0.0
    within: bool | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule, or what no rule decided.

    Attributes:
        totals: Of the release's versions over all requests.
        rule: None for the requests that no rule decided.
        share: Of all requests, 0 to 1.
    """

    release: str
    totals: tuple[VersionShare, ...]
    rule: str | None
    reason: str
    count: int
    share: float
    versions: tuple[VersionVerdict, ...]

    @property
    def held(self) -> bool:
        """Whether chance explains every distance."""
        return all(version.within is not False for version in self.versions)

    def head(self) -> tuple[str, str, str]:
        """Cells for the rule: name, requests, share."""
        return self.rule or self.reason, f"{self.count:,}", f"{self.share:.2%}"

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Cells for each version: name, asked, reached, whether that is within chance."""
        return [_cells(version) for version in self.versions]


def _cells(version: VersionVerdict) -> tuple[str, str, str, str]:
    if version.asked is None:
        return version.version, "", "", ""
    asked = percentage(round(version.asked * SHARE_SCALE))
    if version.within is None:
        return version.version, asked, "", ""
    told = "all or none" if math.isinf(version.deviations) else f"{version.deviations:.1f} σ"
    return version.version, asked, f"{version.reached:.2%}", f"{'yes' if version.within else 'no'}, {told}"


def judged(report: SimulationReport, wanted: str | None, repeated: Mapping[str, float]) -> list[Verdict]:
    """Every rule of every release, or of the one that is wanted.

    Args:
        repeated: By release, how much the same keys coming again widen the spread of chance; see ``repetition``.
    """
    return [
        Verdict(
            release=release.release,
            totals=release.versions,
            rule=rule.rule,
            reason=rule.reason,
            count=rule.count,
            share=rule.share,
            versions=tuple(_judged(rule, version, repeated.get(release.release, 1.0)) for version in rule.versions),
        )
        for release in report.releases
        if wanted in (None, release.release)
        for rule in release.rules
    ]


def _judged(rule: RuleShare, version: VersionShare, repeated: float) -> VersionVerdict:
    asked = version.asked if rule.reason == "split" else None
    if asked is None or not rule.count:
        return VersionVerdict(version.version, version.count, version.count / max(1, rule.count), asked)
    deviations = version.deviation / math.sqrt(repeated)
    # One request more or less proves nothing, however unlikely.
    within = deviations <= LIMIT or abs(version.count - asked * rule.count) < 1
    return VersionVerdict(version.version, version.count, version.share, asked, deviations, within)


def repetition(document: RuleDocument, requests: Sequence[RequestFacts]) -> dict[str, float]:
    """Factor by release by which the variance of its shares grows because users come more than once.

    All requests of a key fall to one version, so that only the keys are drawn: Kish's design effect, the mean number
    of requests that share a request's key.
    """
    return {release.name: _design_effect(release, requests) for release in document.releases}


def _design_effect(release: Release, requests: Iterable[RequestFacts]) -> float:
    keys: Counter[str] = Counter()
    alone = 0
    for facts in requests:
        found = present_key(release.sticky, facts)
        if found is None:
            alone += 1
        else:
            keys[found[1]] += 1
    total = keys.total() + alone
    return (sum(count * count for count in keys.values()) + alone) / total if total else 1.0
