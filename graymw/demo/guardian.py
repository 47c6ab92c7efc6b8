"""Ends the demo's processes when the demo itself was killed and could not do it.

Runs as a process of its own and reads ``watch PGID`` and ``forget PGID`` lines. The end of its input means that the
demo is gone: the process groups still watched are ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import Final

GRACE_SECONDS: Final = 5.0


def signal_group(group: int, signum: int) -> bool:
    """Send a signal to a process group; False where it is gone."""
    try:
        os.killpg(group, signum)
    except (ProcessLookupError, PermissionError):  # macOS: PermissionError where only zombies are left
        return False
    return True


def end_groups(groups: Iterable[int], grace: float = GRACE_SECONDS) -> None:
    """Ask process groups to end, and after ``grace`` seconds make them."""
    left = [group for group in groups if signal_group(group, signal.SIGTERM)]
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [group for group in left if signal_group(group, 0)]
    for group in left:
        signal_group(group, signal.SIGKILL)


def watched_at_end(lines: Iterable[str]) -> set[int]:
    """Process groups that were watched and not forgotten when the input ended."""
    groups: set[int] = set()
    for line in lines:
        word, _, group = line.strip().partition(" ")
        with contextlib.suppress(ValueError):
            (groups.add if word == "watch" else groups.discard)(int(group))
    return groups


def main() -> None:
    """Watch until the input ends."""
    end_groups(watched_at_end(sys.stdin))


if __name__ == "__main__":
    main()
