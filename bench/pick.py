"""What it costs to pick an instance, by balancer and number of instances; and to make a table of them.

    python -m bench.pick

A pick is all that a call of a decided version pays for routing: looking the service up, its version's instances, one of
them. ``one out`` is the same while one instance is ejected. ``table`` is what a change in the registry costs, once for
each version that calls went to, large services beside the requests; ``sticky`` makes a ring.
"""

from __future__ import annotations

import gc
import logging
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.harness import Timing, keep, measure
from graymw.core.context import Decision, GrayContext
from graymw.core.document import parse
from graymw.core.instances import Instance
from graymw.runtime.instance_picking import InstanceDirectory
from graymw.settings.schema import Settings

BALANCERS = ("round-robin", "random", "least-request", "sticky")
SIZES = (10, 1_000, 10_000)
BUILDS = 5

DOCUMENT = parse({"schema": 1, "releases": {"checkout": {"services": ["orders"], "stable": "v1"}}})
GRAY = GrayContext([Decision("checkout", "v2", "match", stable="v1")])


class Registry:
    def __init__(self, size: int) -> None:
        self.known = tuple(
            Instance("orders", f"10.0.{number // 250}.{number % 250}", 8000, f"v{1 + number % 2}", 1 + number % 3)
            for number in range(2 * size)
        )

    def instances(self, service: str) -> tuple[Instance, ...] | None:
        return self.known if service == "orders" else None


def directory(size: int, balancer: str) -> InstanceDirectory:
    return InstanceDirectory(
        Registry(size), Settings.from_mapping({"service": "edge", "balancer": balancer}, environ={})
    )


def pick(found: InstanceDirectory) -> Any:
    def call() -> None:
        ticket = found.choose(DOCUMENT, "orders", GRAY, "user-7").ticket
        if ticket is not None:
            ticket.end()

    return call


def building(size: int, balancer: str) -> float:
    """Milliseconds until the first pick of a service that nobody has called, at best."""
    best = float("inf")
    for _ in range(BUILDS):
        found = directory(size, balancer)
        gc.collect()
        begin = time.perf_counter()
        found.choose(DOCUMENT, "orders", GRAY, "user-7")
        best = min(best, time.perf_counter() - begin)
    return best * 1e3


def main() -> None:
    logging.getLogger("graymw").setLevel(logging.ERROR)
    cases = {}
    for balancer in BALANCERS:
        for size in SIZES:
            found = directory(size, balancer)
            cases[f"{balancer} {size}"] = pick(found)
            failing = directory(size, balancer)
            failing.choose(DOCUMENT, "orders", GRAY, "user-7")
            failing.health.failed(failing.table("orders").version("v2").instances[0], "refused")  # type: ignore[union-attr]
            cases[f"{balancer} {size}, one out"] = pick(failing)
    picks = measure(cases, rounds=41, slice_seconds=0.003)
    tables = {f"{balancer} {size}": building(size, balancer) for balancer in BALANCERS for size in SIZES}
    report(picks, tables)


def report(picks: dict[str, Timing], tables: dict[str, float]) -> None:
    shown = Table(
        "balancer", "instances", "pick us", "one out us", "table ms", title="picking one instance of a version"
    )
    for balancer in BALANCERS:
        for size in SIZES:
            name = f"{balancer} {size}"
            shown.add_row(
                balancer,
                f"{size:,}",
                f"{picks[name].minimum:.2f}",
                f"{picks[f'{name}, one out'].minimum:.2f}",
                f"{tables[name]:.1f}",
            )
    console = Console()
    console.print(shown)
    flat = {
        f"{balancer}: pick of 10,000 / pick of 10": picks[f"{balancer} 10000"].minimum / picks[f"{balancer} 10"].minimum
        for balancer in BALANCERS
    }
    goals = Table("goal", "reached")
    for name, value in flat.items():
        goals.add_row(name, f"{value:.2f}")
    console.print(goals)
    keep(
        "pick",
        {"microseconds": {name: each.minimum for name, each in picks.items()}, "table_ms": tables, "goals": flat},
    )


if __name__ == "__main__":
    main()
