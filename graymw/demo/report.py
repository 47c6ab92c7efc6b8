"""What the demo found, as values: for the verdict, the printed account and ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from graymw.demo.jaeger import JaegerSearch
from graymw.demo.outcomes import Outcome, Share
from graymw.demo.processes import Service
from graymw.demo.spans import ExportedSpan
from graymw.demo.traffic import Answer
from graymw.demo.upstream import Forwarder


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to hold."""

    name: str
    held: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Round:
    """All requests under one rule document.

    Attributes:
        revision: Of the document, as this process computes it.
        expected: By user id, version and rule by the same rules evaluated in this process.
        is_exported: Whether the spans of all requests arrived in time.
    """

    revision: str
    answers: Sequence[Answer]
    outcomes: Sequence[Outcome]
    expected: Mapping[str, tuple[str, str]]
    share: Share
    seconds: float
    is_exported: bool

    @property
    def gray_users(self) -> frozenset[str]:
        """Ids of those who were on the gray version."""
        return frozenset(outcome.user.uid for outcome in self.outcomes if outcome.is_gray)

    @property
    def processes(self) -> frozenset[tuple[str, str, int]]:
        """Service, version and process id of all that served."""
        return frozenset((hop.service, hop.version, hop.pid) for answer in self.answers for hop in answer.hops)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What became of the broken document.

    Attributes:
        problems: What is wrong with it.
        is_logged: Whether the edge said so in its log.
        revisions: Revisions by which requests were decided afterwards.
    """

    problems: Sequence[str]
    is_logged: bool
    revisions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the new document; ``milliseconds`` from its writing to the first request that followed it."""

    revision: str
    milliseconds: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        shown: One request, and ``trace`` its spans.
    """

    services: Sequence[Service]
    before: Round
    refusal: Refusal
    change: Change
    after: Round
    shown: Answer
    trace: Sequence[ExportedSpan]
    checks: Sequence[Check] = field(default=())
    forwarder: Forwarder | None = None
    search: JaegerSearch | None = None

    @property
    def held(self) -> bool:
        """Whether everything held."""
        return all(check.held for check in self.checks)

    @property
    def joined(self) -> frozenset[str]:
        """Users whom the change brought to the gray version."""
        return self.after.gray_users - self.before.gray_users

    @property
    def left(self) -> frozenset[str]:
        """Users whom it took off the gray version; nobody, if all is well."""
        return self.before.gray_users - self.after.gray_users

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "held": self.held,
            "checks": [asdict(check) for check in self.checks],
            "services": [
                {"service": entry.name, "version": entry.version, "url": entry.url, "pid": entry.pid}
                for entry in self.services
            ],
            "rounds": [_round_json(self.before), _round_json(self.after)],
            "refused": {"problems": list(self.refusal.problems), "logged": self.refusal.is_logged},
            "change": {
                "revision": self.change.revision,
                "effective_after_ms": self.change.milliseconds,
                "joined": sorted(self.joined),
                "left": sorted(self.left),
            },
            "trace": [_span_json(span) for span in self.trace],
            "exported_to": self._export_json(),
        }

    def _export_json(self) -> dict[str, Any] | None:
        if self.forwarder is None:
            return None
        return {
            "endpoint": self.forwarder.endpoint.url,
            "batches": self.forwarder.sent,
            "failures": self.forwarder.failures,
            "last_failure": self.forwarder.last_failure,
            "search": asdict(self.search) if self.search else None,
        }


def _round_json(of: Round) -> dict[str, Any]:
    return {
        "revision": of.revision,
        "requests": len(of.answers),
        "seconds": round(of.seconds, 3),
        "split": {
            "asked": of.share.asked,
            "reached": round(of.share.reached, 4),
            "tolerance": round(of.share.tolerance, 4),
            "users": of.share.users,
            "gray": of.share.gray,
        },
        "users": [
            {
                "user": outcome.user.uid,
                "tells": outcome.user.says,
                "rule": outcome.rule,
                "reason": outcome.reason,
                "requests": outcome.requests,
                "served": {service: "/".join(versions) for service, versions in outcome.served.items()},
                "agreed": outcome.is_agreed,
            }
            for outcome in of.outcomes
        ],
    }


def _span_json(span: ExportedSpan) -> dict[str, Any]:
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "service": span.service,
        "name": span.name,
        "kind": span.kind,
        "milliseconds": round(span.milliseconds, 3),
        "attributes": dict(span.attributes),
    }
