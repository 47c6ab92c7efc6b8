"""``graymw explain``: which version one request gets, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

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
from graymw.cli.request import DescribedRequest, RequestOptions, clock_at, inherited
from graymw.cli.rules_here import compiled_rules, release_named
from graymw.cli.unread import unread
from graymw.core.explaining import Explanation, ReleaseExplanation, RuleExplanation, explain
from graymw.core.model import SHARE_SCALE

if TYPE_CHECKING:
    from rich.console import Console

_ORIGINS: Final = {
    "issued": "a gray_id cookie that the response would set",
    "random": "drawn for this request alone",
}


def command(
    *,
    rules: RulesOption = None,
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
    baggage: Annotated[
        list[str] | None,
        typer.Option("--baggage", metavar="MEMBERS", help="What an upstream hop decided: gray.checkout=v2."),
    ] = None,
    service: ServiceOption = None,
    release: ReleaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show which version one request gets, and why.

    User, region and device are derived from the request as the settings say, unless they are given. A baggage header
    counts as that of a trusted hop.
    """
    here = compiled_rules(rules, service=service, clock=clock_at(at))
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
    facts = DescribedRequest(options, here.settings)
    own = facts.headers.get("baggage")
    given, faults = inherited([*(baggage or ()), *([own] if own else ())], here.rules.document, here.settings.service)
    for fault in faults:
        terminal.complain(f"graymw: some of the baggage is ignored ({fault}); write it like gray.checkout=v2")
    if baggage and not given.decisions and not faults:
        terminal.complain("graymw: --baggage names no decision; write it like gray.checkout=v2")
    for sentence in unread(facts, here.rules.reads, here.settings):
        terminal.complain(f"graymw: {sentence}")
    explained = explain(here.rules, facts, given)
    wanted = release_named(here.rules.document, release, here.origin).name if release is not None else None
    shown = [found for found in explained.releases if wanted in (None, found.release)]
    if as_json:
        terminal.write_json(_as_json(explained, shown))
    else:
        _tell(terminal.console(), facts, explained, shown, primary=here.rules.primary)
    return 0


def _as_json(explained: Explanation, shown: list[ReleaseExplanation]) -> dict[str, object]:
    return {
        "revision": explained.revision,
        "decisions": {
            found.release: {
                "version": found.version,
                "reason": found.reason,
                "rule": found.rule,
                "bucket": found.bucket,
            }
            for found in shown
        },
    }


def _tell(
    console: Console,
    facts: DescribedRequest,
    explained: Explanation,
    shown: list[ReleaseExplanation],
    *,
    primary: str | None,
) -> None:
    names = ("user", "region", "device", "ip")
    known = [f"{name} {value}" for name in names if (value := getattr(facts, name)) is not None]
    request = f"{facts.method} {facts.host}{facts.path}"
    console.print(terminal.text(", ".join([request, *known, f"revision {explained.revision or 'none'}"])))
    if not shown:
        console.print(terminal.text("no release, so no decision"))
    for found in shown:
        console.print()
        _tell_release(console, found, is_primary=found.release == primary)


def _tell_release(console: Console, found: ReleaseExplanation, *, is_primary: bool) -> None:
    head = terminal.text(f"{found.release}: ")
    gray = found.stable is not None and found.version != found.stable
    head.append(found.version, style="bold magenta" if gray else "bold cyan")
    how = f"{found.reason} by rule {found.rule}" if found.rule is not None else found.reason
    head.append(f"  {how}{', gray' if gray else ''}{', governs this service' if is_primary else ''}")
    console.print(head)
    if found.bucket is not None:
        source = _ORIGINS.get(found.key_source or "", found.key_source)
        told = f"bucket {found.bucket} of {SHARE_SCALE}, of seed {found.seed} and key {found.key!r} ({source})"
        console.print(terminal.text(told))
    if not found.rules:
        return
    table = terminal.table("rule", "result", "gives", "why")
    over = False
    for rule in found.rules:
        result, style = _result(rule, over=over)
        table.add_row(*map(terminal.text, (rule.name, result, _gives(rule), rule.why)), style=style)
        over = over or rule.decided
    console.print(table)


def _result(rule: RuleExplanation, *, over: bool) -> tuple[str, str]:
    """What came of a rule, in a word, and its style."""
    if rule.decided:
        return "decides", "bold"
    if rule.matched:
        return ("too late" if over else "matches"), "dim"
    return "no", "dim" if over else ""


def _gives(rule: RuleExplanation) -> str:
    """Version, or the buckets of each version, a line each."""
    if rule.use is not None:
        return rule.use
    bounds = [0, *(part.bound for part in rule.ranges)]
    return "\n".join(f"{part.version} {low}-{part.bound - 1}" for low, part in zip(bounds, rule.ranges, strict=False))
