"""Logging once for each of many things that come and go, such as instances."""

from __future__ import annotations

from typing import Final

MOST: Final = 512
"""Keys remembered; the oldest is forgotten for a new one, and told of again when it comes back."""


class FirstTimes:
    """Which keys have been seen. Thread-safe; two threads at once may both be first."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def __call__(self, key: str) -> bool:
        """Whether this is the first time of a key."""
        seen = self._seen
        if key in seen:
            return False
        seen[key] = None
        if len(seen) > MOST:
            seen.pop(next(iter(list(seen)), key), None)
        return True
