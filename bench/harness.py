"""Timing that survives a noisy machine: cases take turns in short slices, and ratios come from the same run."""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Microseconds per call of one case."""

    minimum: float
    median: float


def measure(cases: Mapping[str, Work], *, rounds: int = 61, slice_seconds: float = 0.004) -> dict[str, Timing]:
    """Run every case in slices of a few milliseconds, round robin.

    The minimum is the cost on an undisturbed core; the median shows what the machine did meanwhile.
    """
    loops = {name: _calibrate(work, slice_seconds) for name, work in cases.items()}
    samples: dict[str, list[float]] = {name: [] for name in cases}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, work in cases.items():
                count = loops[name]
                repeat = range(count)
                begin = time.perf_counter()
                for _ in repeat:
                    work()
                samples[name].append((time.perf_counter() - begin) / count * 1e6)
    finally:
        gc.enable()
    return {name: Timing(min(values), statistics.median(values)) for name, values in samples.items()}


def _calibrate(work: Work, slice_seconds: float) -> int:
    for _ in range(20):  # what is made at the first call is not its price
        work()
    count = 1
    while True:
        begin = time.perf_counter()
        for _ in range(count):
            work()
        spent = time.perf_counter() - begin
        if spent > slice_seconds / 4:
            return max(1, int(count * slice_seconds / spent))
        count *= 4


def keep(name: str, report: object) -> None:
    """Write a report as JSON beside the benchmarks, and tell where."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
    print(f"written to bench/results/{name}.json", file=sys.stderr)
