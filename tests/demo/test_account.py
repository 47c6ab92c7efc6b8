from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from graymw.demo.account import Account, console
from graymw.demo.checks import verdict
from graymw.demo.jaeger import JaegerSearch, jaeger_search
from graymw.demo.people import User, cast
from graymw.demo.processes import Service, ServiceFailedError
from graymw.demo.report import Check, Report
from graymw.demo.upstream import Endpoint, Forwarder

from .making import good_report, outcome


class Page:
    """Where an account is written, to be read."""

    def __init__(self, *, terminal: bool = False, width: int = 100) -> None:
        self._text = io.StringIO()
        self.account = Account(Console(file=self._text, width=width, force_terminal=terminal, highlight=False))

    @property
    def text(self) -> str:
        return self._text.getvalue()


def judged(report: Report) -> Report:
    return dataclasses.replace(report, checks=verdict(report))


def told(report: Report, page: Page) -> str:
    page.account.opening()
    page.account.started([service()])
    page.account.section(1, "first")
    page.account.round(report.before)
    page.account.problems(report.refusal.problems)
    page.account.round(report.after, report.before)
    page.account.trace(report)
    page.account.verdict(report)
    return page.text


def service(log: Path = Path("/nonexistent")) -> Service:
    return Service("orders", "v2", "Flask under gunicorn", 18_001, [], {}, Path("/"), log)


def test_the_whole_account_fits_in_100_columns_without_a_terminal() -> None:
    text = told(judged(good_report()), Page())
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text


def with_the_cast(report: Report) -> Report:
    """The users of the demo itself, all of whom have moved, and a crowd beside them."""
    users = [*cast(), *(User(str(number)) for number in range(1000, 1120))]
    before, after = (
        dataclasses.replace(
            of, outcomes=[dataclasses.replace(outcome(user.uid, version, "mobile-eu"), user=user) for user in users]
        )
        for of, version in ((report.before, "v1"), (report.after, "v2"))
    )
    return dataclasses.replace(report, before=before, after=after)


def test_in_80_columns_nothing_is_cut_off_and_all_keeps_its_indent() -> None:
    text = told(with_the_cast(judged(good_report())), Page(width=80))
    assert max(map(len, text.splitlines())) <= 80
    assert "120 moved" in text
    assert not re.search(r"\S…", text)
    assert all(line.startswith("  ") or line.endswith("──") for line in text.splitlines() if line)


def test_who_moved_is_marked() -> None:
    lines = told(judged(good_report()), Page()).splitlines()
    assert [line.split()[0] for line in lines if line.rstrip().endswith("moved")] == ["b"]


def test_brackets_in_what_is_told_are_text_and_not_markup() -> None:
    assert "[releases.checkout]" in told(judged(good_report()), Page())
    page = Page()
    page.account.check(Check("a [b] c", held=True, detail="[red]"))
    assert page.text.split() == ["✓", "a", "[b]", "c", "[red]"]


def test_the_verdict_counts_what_did_not_hold() -> None:
    assert "All 10 things held." in told(judged(good_report()), Page())
    broken = dataclasses.replace(good_report(), trace=())
    spoiled = dataclasses.replace(
        broken, checks=[Check("one", held=False, detail=""), Check("two", held=True, detail="")]
    )
    text = told(spoiled, Page())
    assert "1 of 2 things did not hold." in text
    assert "No spans arrived." in text


def searched(found: int) -> tuple[JaegerSearch, str]:
    search = jaeger_search("http://jaeger:16686", service="edge", start=1, end=2, trace_id="abc")
    search = dataclasses.replace(search, found=found)
    forwarder = Forwarder(Endpoint("http://jaeger:4318/v1/traces"))
    return search, told(judged(dataclasses.replace(good_report(), forwarder=forwarder, search=search)), Page())


def test_the_search_is_named_on_one_line_each() -> None:
    search, text = searched(0)
    lines = [line.strip() for line in text.splitlines()]
    assert {search.page, search.trace, f"curl -s '{search.query}'"} <= set(lines)


def test_whether_jaeger_finds_the_traces_is_said() -> None:
    assert "finds 3 gray traces" in searched(3)[1]
    assert "--jaeger" in searched(0)[1]


def test_without_a_terminal_there_is_no_trace_of_a_progress_bar() -> None:
    page = Page()
    with page.account.sending(10, 5) as count:
        count()
    with page.account.starting(1) as ready:
        ready(service())
    assert page.text == ""


def test_with_a_terminal_there_is_a_progress_bar() -> None:
    page = Page(terminal=True)
    with page.account.sending(10, 5) as count:
        count()
    assert "━" in page.text


def test_a_service_that_failed_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "orders.log"
    log.write_text("[red]Error: no module named flask")
    page = Page()
    page.account.failed(ServiceFailedError(service(log), "ended at once with exit code 1"))
    assert "✗ orders v2 ended at once with exit code 1" in page.text
    assert "[red]Error: no module named flask" in page.text


def test_how_to_go_on_is_said_with_lines_to_copy(tmp_path: Path) -> None:
    page = Page()
    page.account.keeping("http://127.0.0.1:18005", tmp_path / "rules.yaml", tmp_path)
    assert "curl -s http://127.0.0.1:18005/checkout -H 'x-user-id: 40'" in page.text
    assert str(tmp_path / "rules.yaml") in page.text


def test_a_console_is_100_columns_wide_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert console().width == 100


def test_the_report_is_json_with_everything_that_was_told() -> None:
    document = json.loads(json.dumps(judged(good_report()).as_json()))
    assert document["held"] is True
    assert [entry["split"]["asked"] for entry in document["rounds"]] == [0.1, 0.5]
    assert document["change"] == {"revision": "rev-2", "effective_after_ms": 42.0, "joined": ["b"], "left": []}
    assert document["rounds"][0]["users"][0]["served"] == {"edge": "v1", "orders": "v2", "payments": "v2"}
    assert document["trace"][1]["attributes"]["gray.version"] == "v2"
    assert document["exported_to"] is None


def test_a_terminal_without_arrows_gets_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Account(console()).opening()
    assert b"client ? edge" in raw.getvalue()
