"""What another document would do to the same requests: who moves, from where to where (contract, §11)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from graymw.core.facts import RequestFacts
from graymw.core.model import RuleDocument
from graymw.core.ruleset import compile_rules


@dataclass(frozen=True, slots=True)
class Move:
    """Requests of one release that one document sends to ``before`` and the other to ``after``.

    Attributes:
        before: Version; None where the document has no such release.
        after: Version; None where the document has no such release.
        share: Of all requests, 0 to 1.
    """

    before: str | None
    after: str | None
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class ReleaseMoves:
    """One release under two documents.

    Attributes:
        before: Requests by version; empty where the document has no such release.
        after: The same under the other document.
        moves: Largest first.
    """

    release: str
    before: dict[str, int]
    after: dict[str, int]
    moves: tuple[Move, ...]

    @property
    def moved(self) -> float:
        """Share of all requests that move, 0 to 1."""
        return sum(move.share for move in self.moves)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two documents over the same requests; releases of either, in the order of the new one, then of the old one."""

    requests: int
    releases: tuple[ReleaseMoves, ...]

    @property
    def moved(self) -> float:
        """Largest share that moves in any release, 0 to 1."""
        return max((release.moved for release in self.releases), default=0.0)


def compare(
    before: RuleDocument,
    after: RuleDocument,
    requests: Iterable[RequestFacts],
    *,
    clock: Callable[[], float],
    service: str | None = None,
) -> Comparison:
    """Decide every request by both documents.

    A request without a key draws the same random bucket in both, so that only the documents make a difference.

    Args:
        clock: Seconds since the Unix epoch, for ``after`` and ``before``.
        service: The service that decides.
    """
    number = 0

    def entropy() -> str:
        return f"request-{number}"

    old = compile_rules(before, service=service, clock=clock, entropy=entropy)
    new = compile_rules(after, service=service, clock=clock, entropy=entropy)
    names = list(dict.fromkeys(release.name for release in (*after.releases, *before.releases)))
    pairs: dict[str, Counter[tuple[str | None, str | None]]] = {name: Counter() for name in names}
    for facts in requests:
        number += 1
        told, tells = old.decide(facts).decisions, new.decide(facts).decisions
        for name in names:
            was, will = told.get(name), tells.get(name)
            pairs[name][was.version if was else None, will.version if will else None] += 1
    return Comparison(number, tuple(_release(name, pairs[name], number) for name in names))


def _release(name: str, pairs: Counter[tuple[str | None, str | None]], requests: int) -> ReleaseMoves:
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for (was, will), count in pairs.items():
        if was is not None:
            before[was] += count
        if will is not None:
            after[will] += count
    moves = [Move(*pair, count, count / requests) for pair, count in pairs.most_common() if pair[0] != pair[1]]
    return ReleaseMoves(name, dict(before), dict(after), tuple(moves))
