"""Trees of any depth, conditions among them, without recursion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from graymw.core.model import AllOf, AnyOf, Condition, Not

Node = TypeVar("Node")
Result = TypeVar("Result")


def fold(
    root: Node, children: Callable[[Node], Sequence[Node]], combine: Callable[[Node, list[Result]], Result]
) -> Result:
    """Value of ``root`` made bottom-up: ``combine(node, values of its children)``."""
    pending: list[tuple[Node, int]] = [(root, -1)]
    values: list[Result] = []
    while pending:
        node, count = pending.pop()
        if count < 0:
            below = children(node)
            pending.append((node, len(below)))
            pending.extend((child, -1) for child in reversed(below))
            continue
        split = len(values) - count
        values[split:] = [combine(node, values[split:])]
    return values[0]


def condition_parts(condition: Condition) -> Sequence[Condition]:
    """Conditions directly inside a condition."""
    match condition:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            return parts
        case Not(condition=part):
            return (part,)
        case _:
            return ()
