"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE = 5.0


def eventually(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Return as soon as the condition holds; fail where it does not within the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        time.sleep(0.005)
