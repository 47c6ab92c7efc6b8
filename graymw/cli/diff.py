"""``graymw diff``: what another rule document would do to the same requests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Final

import typer

from graymw.cli import terminal
from graymw.cli.options import JsonOption, ReleaseOption, ServiceOption
from graymw.cli.outcome import FINE, PROBLEM, WrongUseError
from graymw.cli.recorded import recorded_requests
from graymw.cli.rules_here import examine_rules
from graymw.core.comparing import Comparison, ReleaseMoves, compare
from graymw.core.facts import RequestFacts
from graymw.settings.loader import load_settings

DEFAULT_COUNT: Final = 10_000
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def command(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The rule document in force: FILE, URL or -.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The other one.")],
    *,
    traffic: Annotated[
        str | None,
        typer.Option("--traffic", metavar="FILE.jsonl", help="Recorded requests or an access log, an object a line."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Without --traffic: so many users who have nothing but an id.")
    ] = DEFAULT_COUNT,
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="PERCENT", help="Exit code 1 where more of a release move: 5%.")
    ] = None,
    release: ReleaseOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show who moves between versions: how many requests of each release, from where to where.

    A request without any key draws the same random bucket under both documents.
    """
    settings = load_settings()
    most = _share(limit) if limit is not None else None
    before, after = (examine_rules(each, settings).document() for each in (old, new))
    requests: Iterable[RequestFacts] = (
        recorded_requests(traffic, settings)
        if traffic is not None
        else (RequestFacts(user=str(number)) for number in range(1, count + 1))
    )
    found = compare(before, after, requests, clock=time.time, service=service or settings.service)
    if not found.requests:
        raise WrongUseError(f"{traffic} holds no request; record one a line")
    if release is not None:
        found = _only(found, release)
    over = [each for each in found.releases if most is not None and each.moved > most]
    if as_json:
        terminal.write_json(_as_json(found, before.revision, after.revision, ok=not over))
    else:
        _tell(found, before.revision, after.revision)
        for each in over:
            terminal.line(f"{each.release}: {100 * each.moved:.2f} % move, more than the limit of {limit}")
    return PROBLEM if over else FINE


def _share(written: str) -> float:
    match = _PERCENT.fullmatch(written.strip())
    if match is None or float(match[1]) > 100:
        raise WrongUseError(f"{written!r} is no limit; write a percentage such as 5%")
    return float(match[1]) / 100


def _only(found: Comparison, release: str) -> Comparison:
    known = {each.release: each for each in found.releases}
    if release not in known:
        raise WrongUseError(f"neither document has a release {release}; they have {', '.join(known) or 'none'}")
    return Comparison(found.requests, (known[release],))


def _tell(found: Comparison, before: str, after: str) -> None:
    console = terminal.console()
    console.print(terminal.text(f"{found.requests} requests; revision {before} → {after}"))
    table = terminal.table("release", "from", "to", "requests", "share")
    for column in table.columns[3:]:
        column.justify = "right"
    for release in found.releases:
        for move in release.moves:
            row = (
                release.release,
                move.before or "none",
                move.after or "none",
                move.count,
                f"{100 * move.share:.2f} %",
            )
            table.add_row(*map(terminal.text, row))
    if table.rows:
        console.print(table)
    else:
        console.print(terminal.text("nobody moves"))
    for release in found.releases:
        console.print(terminal.text(f"{release.release}: {_shares(release, found.requests)}"), soft_wrap=True)


def _shares(release: ReleaseMoves, requests: int) -> str:
    versions = dict.fromkeys((*release.before, *release.after))
    return ", ".join(
        f"{version} {100 * release.before.get(version, 0) / requests:.2f} % → "
        f"{100 * release.after.get(version, 0) / requests:.2f} %"
        for version in versions
    )


def _as_json(found: Comparison, before: str, after: str, *, ok: bool) -> dict[str, object]:
    return {
        "ok": ok,
        "before": before,
        "after": after,
        "requests": found.requests,
        "moved": found.moved,
        "releases": {
            release.release: {
                "moved": release.moved,
                "before": release.before,
                "after": release.after,
                "moves": [asdict(move) for move in release.moves],
            }
            for release in found.releases
        },
    }
