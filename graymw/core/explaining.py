"""Why a request gets what it gets: every rule looked at, apart from the compiled code that decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from graymw.core.bucketing import bucket
from graymw.core.context import GrayContext, Reason
from graymw.core.facts import RequestFacts
from graymw.core.interpreting import Atom, judge
from graymw.core.model import Release, Rule
from graymw.core.ruleset import RuleSet
from graymw.core.shares import Range, ranges, version_of
from graymw.core.sticking import issues, present_key

ISSUED: Final = "issued"
RANDOM: Final = "random"


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """One rule.

    Attributes:
        matched: Whether its condition holds.
        decided: Whether it is the one that decided.
        atoms: Its tests and expressions in the written order, each with the actual values; none: it always matches.
        ranges: Of a split, the buckets ``[previous bound, bound)`` of each version; else empty.
        use: Version of a rule without split.
    """

    name: str
    matched: bool
    decided: bool
    atoms: tuple[Atom, ...] = ()
    ranges: tuple[Range, ...] = ()
    use: str | None = None

    @property
    def why(self) -> str:
        """One line: the atoms that tell most, or that it always matches."""
        if not self.atoms:
            return "always matches"
        telling = [atom for atom in self.atoms if atom.holds == self.matched] or list(self.atoms)
        return "; ".join(_told(atom) for atom in telling)


@dataclass(frozen=True, slots=True)
class ReleaseExplanation:
    """One release.

    Attributes:
        bucket: 0 to 9999 where the request has a key or a split was reached; else None.
        seed: What goes before the key.
        key: The text that the bucket is made of, None where there is none.
        key_source: ``user``, ``cookie:gray_id``, …; ``issued`` for a fresh cookie, ``random`` for this request alone.
        rules: In order; empty for inherited and disabled releases.
    """

    release: str
    version: str
    stable: str | None
    reason: Reason
    rule: str | None = None
    bucket: int | None = None
    seed: str = ""
    key: str | None = None
    key_source: str | None = None
    rules: tuple[RuleExplanation, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """One request.

    Attributes:
        releases: In the order of ``RuleSet.decide``.
    """

    revision: str | None
    releases: tuple[ReleaseExplanation, ...]


@dataclass(slots=True)
class _Keys:
    """Fresh keys of one request: an issued one is shared by all its releases."""

    ruleset: RuleSet
    issued: str | None
    drawn: dict[str, str] = field(default_factory=dict)

    def fresh(self, release: Release) -> tuple[str, str]:
        """Source and text of a key for a request that has none."""
        if not issues(release.sticky):
            return RANDOM, self.ruleset.entropy()
        if not self.issued:
            self.issued = self.ruleset.entropy()
        return ISSUED, self.issued


def explain(ruleset: RuleSet, facts: RequestFacts, inherited: GrayContext | None = None) -> Explanation:
    """Explain what ``ruleset.decide`` says, without changing ``facts``. Loads the CEL library where rules use CEL.

    The version of a request without any key is as random as its decision would be.
    """
    given = {} if inherited is None else dict(inherited.decisions)
    keys = _Keys(ruleset, facts.issued)
    explained: list[ReleaseExplanation] = []
    for release in ruleset.document.releases:
        decision = given.pop(release.name, None)
        if decision is None:
            explained.append(_explain_release(release, ruleset, facts, keys))
        else:
            stable = decision.stable or release.stable
            explained.append(ReleaseExplanation(release.name, decision.version, stable, decision.reason, decision.rule))
    explained += [
        ReleaseExplanation(decision.release, decision.version, decision.stable, decision.reason, decision.rule)
        for decision in given.values()
    ]
    revision = (inherited.revision if inherited is not None and inherited.decisions else None) or ruleset.revision
    return Explanation(revision or None, tuple(explained))


def _explain_release(release: Release, ruleset: RuleSet, facts: RequestFacts, keys: _Keys) -> ReleaseExplanation:
    if not release.enabled:
        return ReleaseExplanation(release.name, release.stable, release.stable, "disabled")
    judged = [(rule, judge(rule.condition, facts, ruleset.clock)) for rule in release.rules]
    deciding = next((position for position, (_, found) in enumerate(judged) if found.holds), None)
    rules = tuple(
        RuleExplanation(
            name=rule.name,
            matched=found.holds,
            decided=position == deciding,
            atoms=found.atoms,
            ranges=() if rule.split is None else ranges(rule.split, release.stable),
            use=rule.use,
        )
        for position, (rule, found) in enumerate(judged)
    )
    source, key = _key(release, facts, None if deciding is None else release.rules[deciding], keys)
    drawn = None if key is None else bucket(release.seed, key)
    version, reason = _decided(release, None if deciding is None else release.rules[deciding], drawn)
    return ReleaseExplanation(
        release=release.name,
        version=version,
        stable=release.stable,
        reason=reason,
        rule=None if deciding is None else release.rules[deciding].name,
        bucket=drawn,
        seed=release.seed,
        key=key,
        key_source=source,
        rules=rules,
    )


def _key(release: Release, facts: RequestFacts, deciding: Rule | None, keys: _Keys) -> tuple[str | None, str | None]:
    """Source and text of the bucket key; a fresh one only where a split needs it."""
    found = present_key(release.sticky, facts)
    if found is not None:
        return str(found[0]), found[1]
    if deciding is None or deciding.split is None or len(ranges(deciding.split, release.stable)) == 1:
        return None, None
    return keys.fresh(release)


def _decided(release: Release, rule: Rule | None, drawn: int | None) -> tuple[str, Reason]:
    if rule is None:
        return release.stable, "default"
    if rule.split is None:
        return rule.use or release.stable, "match"
    # Without a key the split is all or nothing, and any bucket tells which.
    return version_of(ranges(rule.split, release.stable), drawn or 0), "split"


def _told(atom: Atom) -> str:
    absent = [name for name, value in atom.actual if value is None]
    if atom.error is not None:
        # The library speaks of the stand-ins that an absent fact is bound by.
        return f"{atom.text} failed: " + (f"{', '.join(absent)} is absent" if absent else atom.error)
    actual = ", ".join(f"{name} is {'absent' if value is None else repr(value)}" for name, value in atom.actual)
    return f"{atom.text} {'holds' if atom.holds else 'does not hold'}" + (f" ({actual})" if actual else "")
