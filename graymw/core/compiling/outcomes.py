"""The decisions that a release can come to, numbered."""

from __future__ import annotations

from dataclasses import dataclass

from graymw.core.context import Decision, Reason
from graymw.core.model import Release, Rule
from graymw.core.shares import ranges


@dataclass(frozen=True, slots=True)
class Direct:
    """A rule that decides without a bucket."""

    outcome: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A rule that decides by bucket: ``(bound, outcome)`` in order, the last bound being the whole space."""

    steps: tuple[tuple[int, int], ...]


Action = Direct | Drawn


class Outcomes:
    """Every decision of one release, made once.

    Attributes:
        decisions: By number.
        default: Number of the decision where no rule matches.
        error: Number of the decision where deciding failed.
        actions: What each rule does, in order.
    """

    __slots__ = ("_numbers", "_release", "_revision", "actions", "decisions", "default", "error")

    def __init__(self, release: Release, revision: str) -> None:
        self._release = release
        self._revision = revision or None
        self._numbers: dict[Decision, int] = {}
        self.decisions: list[Decision] = []
        self.default = self._number(release.stable, "default" if release.enabled else "disabled", None)
        self.error = self._number(release.stable, "error", None)
        self.actions: tuple[Action, ...] = tuple(self._action(rule) for rule in release.rules)

    def _number(self, version: str, reason: Reason, rule: str | None) -> int:
        release = self._release
        decision = Decision(release.name, version, reason, rule, self._revision, release.stable)
        number = self._numbers.setdefault(decision, len(self.decisions))
        if number == len(self.decisions):
            self.decisions.append(decision)
        return number

    def _action(self, rule: Rule) -> Action:
        if rule.split is None:
            return Direct(self._number(rule.use or self._release.stable, "match", rule.name))
        steps = tuple(
            (found.bound, self._number(found.version, "split", rule.name))
            for found in ranges(rule.split, self._release.stable)
        )
        # All or nothing needs no key: nobody is given a cookie for a plain 100 %.
        return Direct(steps[0][1]) if len({outcome for _, outcome in steps}) == 1 else Drawn(steps)
