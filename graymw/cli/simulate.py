"""``graymw simulate``: what a rule document would do to many requests."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Final, TypeAlias

import typer

from graymw.cli import terminal
from graymw.cli.options import (
    AtOption,
    CookieOption,
    DeviceOption,
    HeaderOption,
    HostOption,
    IpOption,
    JsonOption,
    MethodOption,
    PathOption,
    QueryOption,
    RegionOption,
    ReleaseOption,
    RulesOption,
    ServiceOption,
    UserOption,
)
from graymw.cli.outcome import FINE, PROBLEM, WrongUseError
from graymw.cli.recorded import recorded_requests
from graymw.cli.request import DescribedRequest, RequestOptions, clock_at
from graymw.cli.rules_here import RulesHere, compiled_rules, release_named
from graymw.cli.unread import unread
from graymw.cli.verdict import Verdict, judged, repetition
from graymw.core.facts import RequestFacts
from graymw.core.model import Fact, FactKind
from graymw.core.simulating import Progress, SimulationReport, simulate, synthetic
from graymw.core.sticking import GRAY_ID

DEFAULT_COUNT: Final = 100_000
_PLAIN_KEYS: Final[Mapping[str, Fact]] = {"user": Fact("user"), "ip": Fact("ip"), "cookie": GRAY_ID}
_NAMED_KEYS: Final[Mapping[str, FactKind]] = {"header": "header", "cookie": "cookie", "query": "query"}

Make: TypeAlias = Callable[[int], RequestFacts]


def command(
    *,
    rules: RulesOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many requests.")] = DEFAULT_COUNT,
    keys: Annotated[
        str | None,
        typer.Option(
            "--keys",
            metavar="user|ip|cookie:NAME|…",
            help="What differs from request to request; default: whatever the releases are sticky by.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Draw the keys at random; default: 1, 2, 3, …")] = None,
    requests: Annotated[
        str | None,
        typer.Option("--requests", metavar="FILE.jsonl", help="Take recorded requests, a JSON object a line."),
    ] = None,
    header: HeaderOption = None,
    cookie: CookieOption = None,
    query: QueryOption = None,
    method: MethodOption = "GET",
    path: PathOption = None,
    host: HostOption = None,
    user: UserOption = None,
    region: RegionOption = None,
    device: DeviceOption = None,
    ip: IpOption = None,
    at: AtOption = None,
    service: ServiceOption = None,
    release: ReleaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Decide for many users and compare the shares with those asked for.

    All requests have the attributes that are given here, and each a key of its own. Exit code 1 where the share of a
    split lies more than four standard deviations from the one asked for.
    """
    here = compiled_rules(rules, service=service, clock=clock_at(at))
    wanted = release_named(here.rules.document, release, here.origin).name if release is not None else None
    options = RequestOptions(
        headers=tuple(header or ()),
        cookies=tuple(cookie or ()),
        queries=tuple(query or ()),
        method=method,
        path=path,
        host=host,
        user=user,
        region=region,
        device=device,
        ip=ip,
    )
    if requests is None:
        make, repeated = _synthetic(here, options, keys, seed, count)
    elif options != RequestOptions() or keys is not None or seed is not None or count != DEFAULT_COUNT:
        raise WrongUseError("--requests brings its own requests; leave out --count, --keys, --seed and the attributes")
    else:
        make, repeated, count = _recorded(here, requests)
    with _progress(count) as progress:
        report = simulate(here.rules, count, make=make, progress=progress)
    verdicts = judged(report, wanted, repeated)
    if as_json:
        terminal.write_json(_as_json(report, verdicts))
    else:
        _tell(report, verdicts)
    return FINE if all(verdict.held for verdict in verdicts) else PROBLEM


def _synthetic(
    here: RulesHere, options: RequestOptions, keys: str | None, seed: int | None, count: int
) -> tuple[Make, Mapping[str, float]]:
    """Maker of synthetic requests by their number, and how often their keys repeat."""
    given = DescribedRequest(options, here.settings)
    for sentence in unread(given, here.rules.reads, here.settings):
        terminal.complain(f"graymw: {sentence}")
    make = synthetic(here.rules, given, keys=None if keys is None else (key_fact(keys),))
    alike = repetition(here.rules.document, [make(1), make(2)])
    repeated = {release: float(count) if effect > 1 else 1.0 for release, effect in alike.items()}
    if seed is None:
        return make, repeated
    draw = random.Random(seed)  # noqa: S311 - the same keys again for the same seed
    return lambda _: make(draw.getrandbits(48)), repeated


def _recorded(here: RulesHere, path: str) -> tuple[Make, Mapping[str, float], int]:
    """The same of recorded requests, and how many there are."""
    found = list(recorded_requests(path, here.settings))
    if not found:
        raise WrongUseError(f"{path} holds no request; record one a line")
    return lambda number: found[number - 1], repetition(here.rules.document, found), len(found)


def key_fact(text: str) -> Fact:
    """The fact that a ``--keys`` names.

    Raises:
        WrongUseError: It names none that can be a key.
    """
    if text in _PLAIN_KEYS:
        return _PLAIN_KEYS[text]
    written, _, name = text.partition(":")
    kind = _NAMED_KEYS.get(written)
    if kind is not None and name:
        return Fact(kind, name.lower() if kind == "header" else name)
    raise WrongUseError(f"--keys {text!r} is no key; write user, ip, cookie, header:NAME, cookie:NAME or query:NAME")


@contextmanager
def _progress(total: int) -> Iterator[Progress | None]:
    """A progress bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (TextColumn("deciding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=terminal.console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


def _tell(report: SimulationReport, verdicts: Sequence[Verdict]) -> None:
    console = terminal.console()
    console.print(terminal.text(f"{report.requests:,} requests, revision {report.revision or 'none'}"))
    if not report.releases:
        console.print(terminal.text("no release, so nothing to decide"))
    for release in dict.fromkeys(verdict.release for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.release == release]
        console.print()
        totals = ", ".join(f"{found.version} {found.share:.2%}" for found in own[0].totals)
        console.print(terminal.text(f"{release}: {totals}"))
        table = terminal.table("rule", "requests", "of all", "version", "asked", "reached", "within 4 σ")
        for column in (1, 2, 4, 5):
            table.columns[column].justify = "right"
        for verdict in own:
            for index, row in enumerate(verdict.rows()):
                head = verdict.head() if index == 0 else ("", "", "")
                style = "" if verdict.versions[index].within in (True, None) else "red"
                table.add_row(*map(terminal.text, (*head, *row)), style=style)
        console.print(table)


def _as_json(report: SimulationReport, verdicts: Sequence[Verdict]) -> dict[str, object]:
    releases: dict[str, dict[str, object]] = {}
    for verdict in verdicts:
        if verdict.release not in releases:
            totals = {found.version: {"count": found.count, "share": found.share} for found in verdict.totals}
            releases[verdict.release] = {"versions": totals, "rules": []}
        rules = releases[verdict.release]["rules"]
        assert isinstance(rules, list)  # noqa: S101 - made above
        rules.append(
            {
                "rule": verdict.rule,
                "reason": verdict.reason,
                "count": verdict.count,
                "share": verdict.share,
                "versions": {
                    found.version: {
                        "count": found.count,
                        "share": found.reached,
                        "asked": found.asked,
                        "deviations": None if math.isinf(found.deviations) else found.deviations,
                        "within": found.within,
                    }
                    for found in verdict.versions
                },
            }
        )
    return {
        "ok": all(verdict.held for verdict in verdicts),
        "revision": report.revision or None,
        "requests": report.requests,
        "releases": releases,
    }
