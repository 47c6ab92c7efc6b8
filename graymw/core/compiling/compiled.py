"""One release made ready to decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from graymw.core.bucketing import bucket
from graymw.core.compiling.conditions import Note, condition_logic
from graymw.core.compiling.outcomes import Action, Direct, Outcomes
from graymw.core.compiling.releases import ReleaseWriter
from graymw.core.context import Decision
from graymw.core.facts import RequestFacts
from graymw.core.interpreting import judge
from graymw.core.model import Release
from graymw.core.reads import logic_reads
from graymw.core.sticking import issues, present_key

Result = TypeVar("Result")
OnError = Callable[[str, str, BaseException], object]
"""Told of release, rule and error where a rule failed for a request."""


class CompiledRelease:
    """One release.

    Attributes:
        decisions: By number.
        facts, maps: What it reads.
    """

    __slots__ = ("_clock", "_entropy", "_logics", "_on_error", "_outcomes", "decisions", "facts", "maps", "release")

    def __init__(
        self,
        release: Release,
        revision: str,
        clock: Callable[[], float],
        entropy: Callable[[], str],
        on_error: OnError | None,
    ) -> None:
        self.release = release
        self._clock = clock
        self._entropy = entropy
        self._on_error = on_error
        self._outcomes = Outcomes(release, revision)
        self.decisions: tuple[Decision, ...] = tuple(self._outcomes.decisions)
        rules = release.rules if release.enabled else ()
        logics = [condition_logic(rule.condition, self._note(rule.name)) for rule in rules]
        self.facts, self.maps = logic_reads(logics, release.sticky if rules else ())
        self._logics = tuple(logics)

    def function(self, results: Sequence[Result]) -> Callable[[RequestFacts], Result]:
        """Function from the facts to the one of ``results`` that stands at the number of the decision. Never raises."""
        writer = ReleaseWriter(self.release, self._outcomes, results, self._clock, self._entropy)
        return writer.write(self._logics, lambda facts: results[self._rescued(facts)])

    def _note(self, rule: str) -> Note:
        return lambda error: self._report(rule, error)

    def _report(self, rule: str, error: BaseException) -> None:
        if self._on_error is not None:
            with suppress(Exception):
                self._on_error(self.release.name, rule, error)

    def _rescued(self, facts: RequestFacts) -> int:
        """Number of the decision where the fast path failed: rule by rule, so that only the failing one is left out."""
        for rule, action in zip(self.release.rules, self._outcomes.actions, strict=True):
            try:
                holds = judge(rule.condition, facts, self._clock).holds
            except Exception as exc:  # noqa: BLE001 - whatever a fact's source raises, the request goes on
                self._report(rule.name, exc)
                continue
            if holds:
                return self._acted(rule.name, action, facts)
        return self._outcomes.default

    def _acted(self, rule: str, action: Action, facts: RequestFacts) -> int:
        try:
            return self._act(action, facts)
        except Exception as exc:  # noqa: BLE001 - as above
            self._report(rule, exc)
            return self._outcomes.error

    def _act(self, action: Action, facts: RequestFacts) -> int:
        if isinstance(action, Direct):
            return action.outcome
        key = self._key(facts)
        drawn = bucket(self.release.seed, key)
        return next(outcome for bound, outcome in action.steps if drawn < bound)

    def _key(self, facts: RequestFacts) -> str:
        found = present_key(self.release.sticky, facts)
        if found is not None:
            return found[1]
        if not issues(self.release.sticky):
            return self._entropy()
        facts.issued = facts.issued or self._entropy()
        return facts.issued
