"""The story as a person reads it: at most 100 columns, with or without a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from graymw.demo import trace_view
from graymw.demo.jaeger import LIMIT, JaegerSearch
from graymw.demo.outcomes import GRAY, SPLIT_RULE, Outcome
from graymw.demo.processes import Service, ServiceFailedError
from graymw.demo.report import Check, Report, Round
from graymw.demo.traffic import CHAIN


def console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """Console of at most ``WIDTH`` columns; without a terminal, of exactly that many."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal without arrows gets question marks, not a traceback
    found = Console(quiet=quiet, stderr=stderr, highlight=False)
    found.width = min(found.width, trace_view.WIDTH) if found.is_terminal else trace_view.WIDTH
    return found


class Account:
    """Tells what happens, as it happens."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def opening(self) -> None:
        """What this is."""
        self._out.print()
        self._out.rule("[bold]graymw demo[/]", align="left", style="dim")
        self._say("client → [bold]edge[/] → [bold]orders[/] v1 | v2 → [bold]payments[/] v1 | v2")
        self._say("[dim]Five processes on loopback. The edge decides each request's version; the others follow it.[/]")
        self._out.print()

    @contextmanager
    def starting(self, count: int) -> Iterator[Callable[[Service], None]]:
        """While services start; the yielded function is told each that is ready."""
        ready: list[Service] = []
        with self._out.status(f"starting {count} services …") as status:

            def told(service: Service) -> None:
                ready.append(service)
                status.update(f"starting {count} services … {len(ready)} ready: {', '.join(map(str, ready))}")

            yield told

    def started(self, services: Sequence[Service]) -> None:
        """What runs where."""
        table = self._table()
        for title in ("service", "", "server", "address", "process"):
            table.add_column(title)
        for service in sorted(services, key=lambda service: (CHAIN.index(service.name), service.version)):
            table.add_row(
                f"[bold]{service.name}[/]", _version(service.version), service.server, service.url, str(service.pid)
            )
        self._print(table)

    def section(self, number: int, title: str) -> None:
        """A new part of the story."""
        self._out.print()
        self._out.rule(f"[bold]{number}  {title}[/]", align="left", style="dim")

    @contextmanager
    def sending(self, requests: int, users: int) -> Iterator[Callable[[], None]]:
        """While a round is sent, with a progress bar where there is a terminal; the yielded function counts one."""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        shown = self._out.is_terminal and not self._out.quiet
        with Progress(*columns, console=self._out, transient=True, disable=not shown) as progress:
            task = progress.add_task(f"requests of {users} users", total=requests)
            yield lambda: progress.advance(task)

    def round(self, of: Round, before: Round | None = None) -> None:
        """Who was served what; with the round before, also what has changed."""
        were = {outcome.user.uid: outcome.version for outcome in before.outcomes} if before else {}
        self._say(f"{len(of.answers)} requests of {len(of.outcomes)} users in {of.seconds:.1f} s")
        table = self._table()
        table.add_column("user", justify="right", no_wrap=True)
        table.add_column("tells")  # gives way where the terminal is narrow
        for title in ("by rule", *CHAIN):
            table.add_column(title, no_wrap=True)
        table.add_column("requests", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for outcome in of.outcomes:
            if outcome.user.in_cast:
                moved = were.get(outcome.user.uid, outcome.version) != outcome.version
                note = "moved" if moved else "" if outcome.is_agreed else "[red]apart[/]"
                self._row(table, outcome.user.uid, escape(outcome.user.says), [outcome], note)
        for versions, group in _by_served(outcome for outcome in of.outcomes if not outcome.user.in_cast):
            moved_count = sum(were.get(outcome.user.uid, versions) != versions for outcome in group)
            note = f"{moved_count} moved" if moved_count else ""
            self._row(table, "…", f"{len(group)} others", group, note)
        self._print(table)
        failed = [answer for answer in of.answers if not answer.is_complete]
        if failed:
            told = escape(failed[0].error or "a hop is missing")
            self._say(f"{_mark(held=False)} {len(failed)} requests failed; the first: {told}")
        self._share(of)

    def _row(self, table: Table, user: str, says: str, group: Sequence[Outcome], note: str) -> None:
        rule = group[0].rule or "[red]none told[/]"
        served = [_version("/".join(group[0].served.get(service, ())) or "none") for service in CHAIN]
        requests = sum(outcome.requests for outcome in group)
        table.add_row(user, f"[dim]{says}[/]", rule, *served, str(requests), f"[yellow]{note}[/]" if note else "")

    def _table(self) -> Table:
        narrow = self._out.width < trace_view.WIDTH
        return Table(box=SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False, collapse_padding=narrow)

    def _print(self, table: Table) -> None:
        self._out.print(Padding(table, (0, 0, 0, 2), expand=False))

    def _say(self, markup: str) -> None:
        """A sentence, indented also where it has to go on below."""
        self._out.print(Padding(Text.from_markup(markup), (0, 0, 0, 2), expand=False))

    def _share(self, of: Round) -> None:
        share = of.share
        self._say(
            f"{_mark(held=share.is_within)} split asked [bold]{share.asked:.1%}[/], "
            f"reached [bold]{share.reached:.1%}[/]  [dim]{share.gray} of {share.users} users under rule {SPLIT_RULE};"
            f" chance allows ± {share.tolerance:.1%}[/]"
        )

    def edit(self, before: str, after: str) -> None:
        """The rule file was replaced by one with another share."""
        self._say(f"rules.yaml is saved with  v2: [bold]{before}[/] → [bold]{after}[/]")

    def problems(self, problems: Sequence[str]) -> None:
        """What is wrong with a document."""
        for problem in problems:
            self._out.print(Padding(Text(problem, style="dim"), (0, 0, 0, 4)))

    def check(self, check: Check) -> None:
        """One thing that had to hold."""
        self._say(f"{_mark(held=check.held)} {escape(check.name)}  [dim]{escape(check.detail)}[/]")

    def trace(self, report: Report) -> None:
        """One trace as a tree."""
        if not report.trace:
            self._out.print("  [red]No spans arrived.[/]")
            return
        shown = trace_view.without_idle_internal(report.trace)
        hidden = len(report.trace) - len(shown)
        self._say(
            f"user {report.shown.user.uid}, trace {report.shown.trace_id}, {len(report.trace)} spans"
            + (f" [dim]({hidden} idle internal ones left out)[/]" if hidden else "")
        )
        for text in trace_view.tree(shown, report.shown.versions, self._out.width):
            self._out.print(text, no_wrap=True, overflow="ellipsis")

    def verdict(self, report: Report) -> None:
        """All checks, and where the traces can be found."""
        table = Table.grid(padding=(0, 1, 0, 0))
        for check in report.checks:
            table.add_row(_mark(held=check.held), f"{escape(check.name)} ", f"[dim]{escape(check.detail)}[/]")
        self._print(table)
        if report.search is not None:
            self._out.print(f"\n  {_where(report.search)}")
            for line in (report.search.page, report.search.trace, f"curl -s '{report.search.query}'"):
                self._out.print(f"  {line}", soft_wrap=True, markup=False)
        failed = sum(not check.held for check in report.checks)
        self._out.print()
        if failed:
            self._out.print(f"  [bold red]{failed} of {len(report.checks)} things did not hold.[/]")
        else:
            self._out.print(f"  [bold green]All {len(report.checks)} things held.[/]")
        self._out.print()

    def keeping(self, edge: str, rules: Path, logs: Path) -> None:
        """How to go on by hand while the chain stays up."""
        self._out.print("  The chain stays up until Ctrl-C. Try:\n")
        for line in (
            f"curl -s {edge}/checkout -H 'x-user-id: 41'",
            f"curl -s {edge}/checkout -H 'x-user-id: 40'",
            f"curl -s {edge}/checkout -H 'x-user-id: 41' -H 'x-gray-version: true'",
        ):
            self._out.print(f"    {line}", soft_wrap=True, markup=False)
        self._out.print(f"\n  Rules, followed as you save them:  {rules}", soft_wrap=True, markup=False)
        self._out.print(f"  Logs of the services:              {logs}\n", soft_wrap=True, markup=False)

    def logs(self, directory: Path) -> None:
        """Where the services' logs were left."""
        self._out.print(f"  Logs of the services: {directory}\n", soft_wrap=True, markup=False)

    def stopped(self) -> None:
        """Somebody ended the demo."""
        self._out.print("\n  Stopped; all its processes have ended.\n")

    def failed(self, error: ServiceFailedError) -> None:
        """A service that did not run, with what it said last."""
        self._out.print(f"  {_mark(held=False)} {escape(str(error))}; its log ends with:\n")
        for line in error.log_tail or ["(nothing)"]:
            self._out.print(f"    {line}", style="dim", soft_wrap=True, markup=False)
        self._out.print()


def _where(search: JaegerSearch) -> str:
    if search.found:
        return f"In Jaeger, where this finds {search.found} gray traces ({LIMIT} at most):"
    return "In Jaeger, if these are its pages (else name them with --jaeger):"


def _mark(*, held: bool) -> str:
    return "[green]✓[/]" if held else "[bold red]✗[/]"


def _version(version: str) -> str:
    return f"[bold magenta]{version}[/]" if version == GRAY else f"[cyan]{version}[/]"


def _by_served(found: Iterator[Outcome]) -> list[tuple[str, list[Outcome]]]:
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in found:
        groups.setdefault((outcome.version, outcome.rule), []).append(outcome)
    return [(version, group) for (version, _), group in sorted(groups.items(), key=lambda item: item[0], reverse=True)]
