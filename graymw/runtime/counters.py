"""How often something went wrong or out of the ordinary, for metrics and ``graymw status``.

Nothing here is touched by a request that runs as it should.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Final

MAX_NAMES: Final = 1_000
"""Distinct names and log keys that are kept; what comes after them is counted under ``OVERFLOW``."""

MAX_OF_A_KIND: Final = 32
"""Log keys from outside that are kept of each kind."""

OVERFLOW: Final = "counters.overflow"

_lock = threading.Lock()
_counts: dict[str, int] = {}
_logged: set[str] = set()
_logged_of: dict[str, set[str]] = {}


def count(name: str, n: int = 1) -> None:
    """Add to a counter.

    Args:
        name: Dotted words such as ``rules.refused``; never a value from a request.
        n: How much.
    """
    with _lock:
        kept = name if name in _counts or len(_counts) < MAX_NAMES else OVERFLOW
        _counts[kept] = _counts.get(kept, 0) + n


def once(
    logger: logging.Logger, key: str, level: int, message: str, *args: object, exc_info: BaseException | None = None
) -> None:
    """Log a message the first time its key is seen in this process; counting it is the caller's business."""
    with _lock:
        if key in _logged or len(_logged) >= MAX_NAMES:
            return
        _logged.add(key)
    logger.log(level, message, *args, exc_info=exc_info)


def some(logger: logging.Logger, kind: str, key: str, level: int, message: str, *args: object) -> None:
    """As ``once``, for keys from outside: of one kind at most ``MAX_OF_A_KIND`` are told, so that others still are.

    Args:
        kind: What the keys are of; never a value from outside.
    """
    with _lock:
        known = _logged_of.setdefault(kind, set())
        if key in known or len(known) >= MAX_OF_A_KIND:
            return
        known.add(key)
    logger.log(level, message, *args)


def snapshot() -> dict[str, int]:
    """All counters now, by name."""
    with _lock:
        return dict(sorted(_counts.items()))


def reset() -> None:
    """Forget all counts and what was logged; for tests."""
    with _lock:
        _counts.clear()
        _logged.clear()
        _logged_of.clear()


def _after_fork_in_child() -> None:
    """A new process counts for itself; another thread of the parent may have held the lock."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _counts.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
