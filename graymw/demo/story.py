"""What happens in the demo: a round of requests, two edits of the rules under way, the same round again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from graymw.demo import checks, people, rules
from graymw.demo.account import Account
from graymw.demo.chain import replace_file
from graymw.demo.outcomes import is_complete, outcomes, share_of
from graymw.demo.people import SHARE_AFTER, SHARE_BEFORE, User
from graymw.demo.processes import Service
from graymw.demo.receiver import Receiver
from graymw.demo.report import Change, Refusal, Round
from graymw.demo.spans import ExportedSpan, SpanStore
from graymw.demo.traffic import Answer, Client, root_spans

_SPANS_SECONDS: Final = 15.0
_CHANGE_SECONDS: Final = 10.0
_SHOWN_USER: Final = "40"
_PROBES: Final = 5
_PROTOBUF: Final = {"content-type": "application/x-protobuf"}


@dataclass(frozen=True, slots=True)
class Told:
    """The facts of the story; what to make of them is the verdict's business.

    Attributes:
        shown: One more request, sent alone, and ``trace`` its spans.
    """

    before: Round
    refusal: Refusal
    change: Change
    after: Round
    shown: Answer
    trace: Sequence[ExportedSpan]


@dataclass(frozen=True, slots=True)
class Story:
    """Plays on a chain that is up.

    Attributes:
        edge: The first service of the chain.
        rules: The file all services follow.
        store: Where their spans arrive, ``receiver`` being the way.
    """

    edge: Service
    rules: Path
    users: Sequence[User]
    client: Client
    receiver: Receiver
    store: SpanStore
    account: Account
    _order: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_order", {user.uid: place for place, user in enumerate(self.users)})

    def tell(self) -> Told:
        """All of it."""
        self.account.section(1, "The canary is at 10%")
        before = self._round(SHARE_BEFORE)
        self.account.round(before)
        self.account.section(2, "The rules change while everything runs")
        refusal, change = self._edits(before.revision)
        self.account.section(3, "The canary is at 50%")
        after = self._round(SHARE_AFTER)
        self.account.round(after, before)
        shown = self.client.ask(next(user for user in self.users if user.uid == _SHOWN_USER))
        self._await_spans([shown])
        return Told(before, refusal, change, after, shown, self.store.trace(shown.trace_id))

    def _round(self, share: int) -> Round:
        began = time.monotonic()
        with self.account.sending(people.total_requests(self.users), len(self.users)) as on_answer:
            answers = self.client.round(self.users, on_answer)
        seconds = time.monotonic() - began
        answers.sort(key=lambda answer: self._order[answer.user.uid])
        is_exported = self._await_spans(answers)
        found = outcomes(answers, self.store)
        return Round(
            revision=rules.revision(self.rules),
            answers=answers,
            outcomes=found,
            expected=rules.expected(self.rules, self.users),
            share=share_of(found, share),
            seconds=seconds,
            is_exported=is_exported,
        )

    def _await_spans(self, answers: Sequence[Answer]) -> bool:
        """Wait for the spans of requests; False where some did not arrive in time."""
        self.receiver.take(root_spans(answers).SerializeToString(), _PROTOBUF)
        answered = [answer.trace_id for answer in answers if answer.is_complete]
        return self.store.wait(answered, is_complete, _SPANS_SECONDS)

    def _edits(self, revision: str) -> tuple[Refusal, Change]:
        """First a document with a slip of the finger, as happens to people, then the one that was meant."""
        good = self.rules.read_text()
        self.account.edit("10%", rules.BROKEN_SHARE)
        refusal = self._refused(rules.with_share(good, rules.BROKEN_SHARE))
        self.account.problems(refusal.problems)
        self.account.check(checks.refused(refusal, revision))
        self.account.edit(rules.BROKEN_SHARE, "50%")
        change = self._changed(rules.with_share(good, "50%"))
        self.account.check(checks.changed(change))
        return refusal, change

    def _refused(self, text: str) -> Refusal:
        known = len(self.edge.log_text())
        replace_file(self.rules, text)
        is_logged = _wait(lambda: rules.BROKEN_PATH in self.edge.log_text()[known:])
        probes = [self.client.ask(user) for user in people.crowd(_PROBES)]
        self._await_spans(probes)
        revisions = frozenset(outcome.revision for outcome in outcomes(probes, self.store))
        return Refusal(rules.problems(self.rules), is_logged, revisions)

    def _changed(self, text: str) -> Change:
        user = people.joins_with_the_raise()
        written = time.time_ns()
        replace_file(self.rules, text)
        probes: list[Answer] = []

        def follows() -> bool:
            probes.append(self.client.ask(user))
            return probes[-1].versions.get("orders") == "v2"

        took = (probes[-1].start - written) / 1e6 if _wait(follows) else None
        self._await_spans(probes)
        return Change(rules.revision(self.rules), took)


def _wait(condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds; False where it did not within a good while."""
    deadline = time.monotonic() + _CHANGE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
