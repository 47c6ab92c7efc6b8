"""The verdict: what had to hold, and whether it did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from graymw.demo.outcomes import Outcome, Share
from graymw.demo.report import Change, Check, Refusal, Report, Round

_NAMED_AT_MOST: Final = 5


def verdict(report: Report) -> list[Check]:
    """Everything that had to hold, in the order of the story."""
    return list(_checks(report))


def _checks(report: Report) -> Iterator[Check]:
    rounds = (report.before, report.after)
    yield _answered(rounds)
    yield _agreed(rounds)
    yield _as_predicted(rounds)
    for of in rounds:
        yield _split(of.share)
    yield refused(report.refusal, report.before.revision)
    yield changed(report.change)
    yield _same_processes(report)
    yield _nobody_left(report)
    yield _traced(rounds)
    if report.forwarder is not None:
        forwarder = report.forwarder
        yield Check(
            "spans reached your own endpoint too",
            forwarder.sent > 0 and not forwarder.failures,
            f"{forwarder.sent} batches went to {forwarder.endpoint.url}"
            + (f", {forwarder.failures} did not: {forwarder.last_failure}" if forwarder.failures else ""),
        )


def _answered(rounds: Iterable[Round]) -> Check:
    answers = [answer for of in rounds for answer in of.answers]
    failed = [answer for answer in answers if not answer.is_complete]
    reason = f"; the first that failed: {failed[0].error or 'a hop is missing'}" if failed else ""
    return Check(
        "every hop of every request answered",
        bool(answers) and not failed,
        f"{len(answers) - len(failed)} of {len(answers)}{reason}",
    )


def _agreed(rounds: Iterable[Round]) -> Check:
    found = [outcome for of in rounds for outcome in of.outcomes]
    apart = [outcome for outcome in found if not outcome.is_agreed]
    return Check(
        "all hops of a request served one version",
        bool(found) and not apart,
        _named(apart) if apart else f"for all {_users(found)} users, in both rounds",
    )


def _as_predicted(rounds: Iterable[Round]) -> Check:
    found = [(outcome, of.expected.get(outcome.user.uid)) for of in rounds for outcome in of.outcomes]
    wrong = [outcome for outcome, expected in found if (outcome.version, outcome.rule) != expected]
    return Check(
        "rule and version are as RuleSet.decide says",
        bool(found) and not wrong,
        _named(wrong) if wrong else f"for all {_users(outcome for outcome, _ in found)} users, in both rounds",
    )


def _split(share: Share) -> Check:
    return Check(
        f"a split of {share.asked:.0%} reaches {share.asked:.0%}",
        share.is_within,
        f"{share.reached:.1%} of {share.users} users; chance allows ± {share.tolerance:.1%} (4 σ)",
    )


def refused(refusal: Refusal, last_good: str) -> Check:
    """The broken document was noticed and changed nothing."""
    is_kept = refusal.revisions == {last_good}
    if not refusal.is_logged:
        detail = "the edge's log does not name the problem"
    elif not is_kept:
        detail = f"requests were decided by {', '.join(sorted(refusal.revisions)) or 'no revision'}"
    else:
        detail = f"the last good one stays: revision {last_good}"
    return Check("a broken document is refused", refusal.is_logged and is_kept, detail)


def changed(change: Change) -> Check:
    """The new document was followed."""
    took = change.milliseconds
    return Check(
        "a new document takes effect at once",
        took is not None,
        "no request followed it" if took is None else f"revision {change.revision}, {took:.0f} ms after it was saved",
    )


def _same_processes(report: Report) -> Check:
    before, after = report.before.processes, report.after.processes
    new = {pid for _, _, pid in after - before}
    return Check(
        "no process was restarted",
        bool(before) and before == after,
        f"the same {len(before)} served both rounds" if before == after else f"only in one round: {sorted(new)}",
    )


def _nobody_left(report: Report) -> Check:
    return Check(
        "raising the share moved nobody off v2",
        bool(report.joined) and not report.left,
        f"{len(report.before.gray_users)} stayed, {len(report.joined)} joined, {len(report.left)} left",
    )


def _traced(rounds: Iterable[Round]) -> Check:
    found = [outcome for of in rounds for outcome in of.outcomes]
    wrong = [outcome for outcome in found if not outcome.is_traced]
    return Check(
        "every span tells the decision",
        bool(found) and not wrong and all(of.is_exported for of in rounds),
        f"not for {_named(wrong)}" if wrong else "and each hop has exactly one server span",
    )


def _users(found: Iterable[Outcome]) -> int:
    return len({outcome.user.uid for outcome in found})


def _named(outcomes: list[Outcome]) -> str:
    names = [f"user {outcome.user.uid} ({outcome.version or 'none'})" for outcome in outcomes[:_NAMED_AT_MOST]]
    more = len(outcomes) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
