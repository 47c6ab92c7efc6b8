"""A rule document made ready to decide: pure, shared by all requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from graymw.core.compiling.compiled import CompiledRelease, OnError
from graymw.core.context import Decision, GrayContext
from graymw.core.facts import RequestFacts
from graymw.core.model import RuleDocument
from graymw.core.reads import Reads, reads_of

_MAX_CONTEXTS: Final = 4_096
_MAX_INHERITED: Final = 512

Number = Callable[[RequestFacts], int]
Decide = Callable[[RequestFacts], GrayContext]


class RuleSet:
    """What a document decides.

    Attributes:
        document: The document it was made of.
        revision: The document's revision.
        reads: The facts that deciding may read.
        primary: Name of the release that governs this process's service.
    """

    __slots__ = (
        "_completed",
        "_fresh",
        "_inherited",
        "_numbers",
        "_releases",
        "clock",
        "document",
        "entropy",
        "primary",
        "reads",
        "revision",
    )

    def __init__(
        self,
        document: RuleDocument,
        *,
        service: str | None = None,
        clock: Callable[[], float],
        entropy: Callable[[], str],
        on_error: OnError | None = None,
    ) -> None:
        self.document = document
        self.revision = document.revision
        self.clock = clock
        self.entropy = entropy
        governing = None if service is None else document.governing(service)
        self.primary = None if governing is None else governing.name
        self._releases = tuple(
            CompiledRelease(release, document.revision, clock, entropy, on_error) for release in document.releases
        )
        self.reads: Reads = reads_of(
            (fact for release in self._releases for fact in release.facts),
            (kind for release in self._releases for kind in release.maps),
        )
        self._fresh, self._numbers = self._compiled()
        self._inherited: dict[str, tuple[GrayContext, Decide]] = {}
        self._completed = 0

    def decide(self, facts: RequestFacts, inherited: GrayContext | None = None) -> GrayContext:
        """Decide every release that ``inherited`` does not hold yet. Never raises.

        Sets ``facts.issued`` where a split needed a key and the release issues a cookie.

        Returns:
            Decisions in the order of the document, then the inherited ones of releases unknown to it. The revision
            is the inherited one where there is one, else the document's. Equal outcomes share one object.
        """
        if inherited is None or not inherited.decisions:
            return self._fresh(facts)
        known = self._inherited.get(inherited.wire)
        if known is not None and known[0] is inherited:
            return known[1](facts)
        return self._remember(inherited)(facts)

    def _remember(self, inherited: GrayContext) -> Decide:
        """Equal contexts usually come as one object, made once from the text on the wire."""
        decide = self._completing(inherited)
        if len(self._inherited) >= _MAX_INHERITED:
            self._inherited.clear()
        self._inherited[inherited.wire] = (inherited, decide)
        return decide

    def _compiled(self) -> tuple[Decide, tuple[Number, ...]]:
        """Function that decides all releases, and one for each that yields the number of its decision."""
        if len(self._releases) == 1:
            (release,) = self._releases
            contexts = [self._context((decision,), self.revision) for decision in release.decisions]
            fresh = release.function(contexts)
            numbers = {context: number for number, context in enumerate(contexts)}
            return fresh, (lambda facts: numbers[fresh(facts)],)
        functions = tuple(release.function(range(len(release.decisions))) for release in self._releases)
        return joined(self._releases, functions, lambda decided: self._context(decided, self.revision)), functions

    def _context(self, decisions: Sequence[Decision], revision: str | None) -> GrayContext:
        return GrayContext(decisions, revision=revision or None, primary=self.primary)

    def _completing(self, inherited: GrayContext) -> Decide:
        """Function that decides what ``inherited`` leaves open, and joins it with that."""
        given = dict(inherited.decisions)
        slots: list[Decision | None] = []
        open_releases: list[CompiledRelease] = []
        open_numbers: list[Number] = []
        for release, number in zip(self._releases, self._numbers, strict=True):
            decision = given.pop(release.release.name, None)
            if decision is None:
                open_releases.append(release)
                open_numbers.append(number)
            elif decision.stable is None:
                decision = replace(decision, stable=release.release.stable)
            slots.append(decision)
        slots += given.values()
        revision = inherited.revision or self.revision

        def context(decided: Sequence[Decision]) -> GrayContext:
            rest = iter(decided)
            return self._context([next(rest) if decision is None else decision for decision in slots], revision)

        return joined(open_releases, open_numbers, context, self._note_completed)

    def _note_completed(self) -> None:
        """Count the contexts that all inherited ones were completed to: callers may send any number of those."""
        self._completed += 1
        if self._completed > _MAX_CONTEXTS:
            self._completed = 0
            self._inherited.clear()


def joined(
    releases: Sequence[CompiledRelease],
    numbers: Sequence[Number],
    context: Callable[[Sequence[Decision]], GrayContext],
    note_made: Callable[[], None] | None = None,
) -> Decide:
    """Function that decides ``releases``; the context of a combination of outcomes is made once.

    Args:
        note_made: Told of each context that is made.
    """
    if not releases:
        constant = context(())
        return lambda _: constant
    sizes = [len(release.decisions) for release in releases]
    parts = tuple(zip(numbers, sizes, strict=True))
    made: dict[int, GrayContext] = {}

    def decide(facts: RequestFacts) -> GrayContext:
        key = 0
        for number, size in parts:
            key = key * size + number(facts)
        found = made.get(key)
        return make(key) if found is None else found

    def make(key: int) -> GrayContext:
        chosen: list[Decision] = []
        rest = key
        for release in reversed(releases):
            rest, number = divmod(rest, len(release.decisions))
            chosen.append(release.decisions[number])
        if len(made) >= _MAX_CONTEXTS:
            made.clear()
        if note_made is not None:
            note_made()
        return made.setdefault(key, context(chosen[::-1]))

    return decide


def compile_rules(
    document: RuleDocument,
    *,
    service: str | None = None,
    clock: Callable[[], float],
    entropy: Callable[[], str],
    on_error: OnError | None = None,
) -> RuleSet:
    """Make a document ready to decide.

    Args:
        document: A document that ``check`` accepts; a part that it would refuse never matches.
        service: Logical name of this process; the release that governs it is the context's primary one.
        clock: Seconds since the Unix epoch, for ``after`` and ``before``.
        entropy: A fresh random key of 8 to 128 characters ``[A-Za-z0-9_-]``, for requests without any.
        on_error: Told of release, rule and error where a rule fails for a request.
    """
    return RuleSet(document, service=service, clock=clock, entropy=entropy, on_error=on_error)
