"""Smooth weighted round robin: one round of turns, written out."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Final

from graymw.core.instances import Instance

MAX_TURNS: Final = 1_000
"""Weights whose turns would be more than this, or than four for each instance, are scaled down, none below one turn."""


def interleaved(instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """One round: each as often as its weight asks, the turns of one spread evenly among those of the others.

    Args:
        instances: Of weights above 0.
    """
    weights = _reduced([instance.weight for instance in instances])
    if not weights or max(weights) == 1:
        return tuple(instances)
    turns = [
        ((turn + 0.5) / weight, place, instance)
        for place, (instance, weight) in enumerate(zip(instances, weights, strict=True))
        for turn in range(weight)
    ]
    turns.sort(key=lambda entry: entry[:2])
    return tuple(instance for _, _, instance in turns)


def _reduced(weights: list[int]) -> list[int]:
    divisor, total = gcd(*weights), sum(weights)
    most = max(MAX_TURNS, 4 * len(weights))
    if total > most * divisor:
        spare = most - len(weights)
        weights = [1 + weight * spare // total for weight in weights]
        divisor = gcd(*weights)
    return [weight // divisor for weight in weights]
