"""What one decision costs, against engines that decide the same.

    python -m bench.decision

Facts are ready-made in each engine's own form, and each engine's answer is checked on a request that hits and one
that misses before it is timed. Buckets differ between engines by design, so those answers are not compared. A peer
that is not installed is left out by name.
"""

from __future__ import annotations

import hashlib
import importlib
import warnings
from typing import cast

from rich.console import Console
from rich.table import Table

from bench.harness import Timing, keep, measure
from bench.peers import HIT, MISS, QUESTIONS, Answer, Peer, Question

PEERS = ("graymw_", "floor", "flagd", "flagd_core", "unleash", "growthbook_", "rule_engine_")
MD5 = "hashlib.md5 of 20 bytes"


def main() -> None:
    """Measure everything and print a table; the figures go to ``bench/results/decision.json``."""
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    peers, missing = installed()
    for name in missing:
        console.print(f"left out: {name} is not installed", style="yellow")
    report: dict[str, dict[str, dict[str, float]]] = {}
    for question in QUESTIONS:
        report[question.name] = as_figures(timed(question, peers))
    show(console, report, [peer.LABEL for peer in peers])
    verdicts(console, report)
    keep("decision", report)


def installed() -> tuple[list[Peer], list[str]]:
    """Peers that can be imported, and the libraries that those lack that cannot."""
    peers: list[Peer] = []
    missing: list[str] = []
    for name in PEERS:
        try:
            with warnings.catch_warnings(action="ignore"):
                peers.append(cast("Peer", importlib.import_module(f"bench.peers.{name}")))
        except ImportError as exc:
            missing.append(f"{name} ({exc.name})")
    return peers, missing


def timed(question: Question, peers: list[Peer]) -> dict[str, Timing]:
    """All peers on the request that misses every rule but the bucket, taking turns, beside the hash that scales."""
    cases: dict[str, Answer] = {}
    for peer in peers:
        hit, miss = peer.prepare(question, HIT), peer.prepare(question, MISS)
        if question.equalities and not peer.gray(hit()):
            raise SystemExit(f"{peer.LABEL} misses what it should hit: {question.name}")
        if question.bucket is None and peer.gray(miss()):
            raise SystemExit(f"{peer.LABEL} hits what it should miss: {question.name}")
        cases[peer.LABEL] = miss
    data = b"x" * 20
    return measure({**cases, MD5: lambda: hashlib.md5(data, usedforsecurity=False).hexdigest()})


def as_figures(timings: dict[str, Timing]) -> dict[str, dict[str, float]]:
    own = timings["graymw"]
    return {
        name: {
            "minimum_us": round(timing.minimum, 4),
            "median_us": round(timing.median, 4),
            "times_graymw": round(timing.minimum / own.minimum, 2),
        }
        for name, timing in timings.items()
    }


def show(console: Console, report: dict[str, dict[str, dict[str, float]]], labels: list[str]) -> None:
    """Minima in microseconds, with the multiple of graymw's in the same run; medians stand in the JSON."""
    table = Table(title="One decision: µs (minimum) and times graymw")
    table.add_column("")
    for question in report:
        table.add_column(question, justify="right")
    for label in [*labels, MD5]:
        cells = []
        for figures in report.values():
            found = figures[label]
            cells.append(f"{found['minimum_us']:.2f}  {found['times_graymw']:.1f} x")
        table.add_row(label, *cells)
    console.print(table)


def verdicts(console: Console, report: dict[str, dict[str, dict[str, float]]]) -> None:
    """The promises that these figures bear on."""
    five, hundred = report["five rules, bucket last"], report["hundred equality rules"]
    promises = [
        ("five rules ending in a bucket, times md5", 1 / five[MD5]["times_graymw"], "<=", 1.43),
        (
            "hundred equality rules, times five rules",
            hundred["graymw"]["minimum_us"] / five["graymw"]["minimum_us"],
            "<=",
            5.0,
        ),
    ]
    flagd = five.get("OpenFeature + flagd, file")
    if flagd is not None:
        promises.append(("OpenFeature + flagd, times graymw", flagd["times_graymw"], ">=", 30.0))
    for what, value, relation, bound in promises:
        held = value <= bound if relation == "<=" else value >= bound
        console.print(
            f"{'holds ' if held else 'MISSED'}  {what}: {value:.2f} ({relation} {bound})",
            style="green" if held else "red",
        )


if __name__ == "__main__":
    main()
