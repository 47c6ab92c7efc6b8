"""What came of a round of requests: by user, which version each hop served, and what the exported spans say of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graymw.demo.people import BUCKETS, RELEASE, User
from graymw.demo.spans import ExportedSpan, SpanStore
from graymw.demo.traffic import CHAIN, Answer

SPLIT_RULE: Final = "canary"
GRAY: Final = "v2"
GOVERNED: Final = CHAIN[1:]
_DEVIATIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """One user in one round.

    Attributes:
        rule: The rule that decided, ``reason`` and ``revision`` alike: as the edge's server spans say.
        served: By service, every version that served a request of the user.
        is_agreed: Whether every governed hop of every request served the same version.
        is_traced: Whether all spans that had to come came, and agree with what served.
    """

    user: User
    requests: int
    rule: str
    reason: str
    revision: str
    served: Mapping[str, tuple[str, ...]]
    is_agreed: bool
    is_traced: bool

    @property
    def version(self) -> str:
        """Version that served the user; several, joined, where it was not one."""
        return "/".join(sorted({version for service in GOVERNED for version in self.served.get(service, ())}))

    @property
    def is_gray(self) -> bool:
        """Whether the user was on the gray version."""
        return self.version == GRAY


def server_spans(trace: Iterable[ExportedSpan]) -> dict[str, list[ExportedSpan]]:
    """Server spans of a trace by service."""
    found: dict[str, list[ExportedSpan]] = {}
    for span in trace:
        if span.kind == "server":
            found.setdefault(span.service, []).append(span)
    return found


def is_complete(trace: Iterable[ExportedSpan]) -> bool:
    """Whether every hop's server span has arrived."""
    return server_spans(trace).keys() >= set(CHAIN)


def outcomes(answers: Iterable[Answer], store: SpanStore) -> list[Outcome]:
    """Outcome by user, in the order in which the users first appear."""
    by_user: dict[str, list[Answer]] = {}
    for answer in answers:
        by_user.setdefault(answer.user.uid, []).append(answer)
    return [_outcome(of_user, store) for of_user in by_user.values()]


def _outcome(answers: Sequence[Answer], store: SpanStore) -> Outcome:
    traces = [store.trace(answer.trace_id) for answer in answers]
    decided = [span for trace in traces for span in server_spans(trace).get(CHAIN[0], ())]

    def told(name: str) -> str:
        return "/".join(sorted({str(span.attributes.get(name, "")) for span in decided}))

    return Outcome(
        user=answers[0].user,
        requests=len(answers),
        rule=told("gray.rule"),
        reason=told("gray.reason"),
        revision=told("gray.revision"),
        served={
            service: tuple(sorted({answer.versions[service] for answer in answers if service in answer.versions}))
            for service in CHAIN
        },
        is_agreed=all(answer.is_complete and _agrees(answer) for answer in answers),
        is_traced=all(_is_traced(answer, trace) for answer, trace in zip(answers, traces, strict=True)),
    )


def _agrees(answer: Answer) -> bool:
    return len({answer.versions[service] for service in GOVERNED}) == 1


def _is_traced(answer: Answer, trace: Sequence[ExportedSpan]) -> bool:
    """Whether each hop has exactly one server span, every span carries the version that served, and it was honoured."""
    served = server_spans(trace)
    version = answer.versions.get(GOVERNED[0])
    own = [span for span in trace if span.service in CHAIN]
    return (
        all(len(served.get(service, ())) == 1 for service in CHAIN)
        and all(span.attributes.get("gray.version") == version for span in own)
        and all(span.attributes.get("gray.release") == RELEASE for span in own)
        and all(served[service][0].attributes.get("gray.honoured") is True for service in GOVERNED)
    )


@dataclass(frozen=True, slots=True)
class Share:
    """The split that was reached, against the one asked for; in parts of 1.

    Attributes:
        tolerance: What chance may put between the two: four standard deviations of that many users.
    """

    asked: float
    users: int
    gray: int

    @property
    def reached(self) -> float:
        """Part of the users that was on the gray version."""
        return self.gray / self.users if self.users else math.nan

    @property
    def tolerance(self) -> float:
        """What chance may put between the two: four standard deviations of that many users."""
        return _DEVIATIONS * math.sqrt(self.asked * (1 - self.asked) / self.users) if self.users else 0.0

    @property
    def is_within(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.users > 0 and abs(self.reached - self.asked) <= self.tolerance


def share_of(found: Iterable[Outcome], asked: int) -> Share:
    """Share of the gray version among those whom the split decided on.

    Args:
        found: Outcomes of a round.
        asked: Share by the rules, out of 10,000.
    """
    split = [outcome for outcome in found if outcome.rule == SPLIT_RULE]
    return Share(asked / BUCKETS, len(split), sum(outcome.is_gray for outcome in split))
