"""Things that belong to one event loop, kept by an object that may outlive it (a fork begins a new loop)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LoopBound(Generic[T]):
    """One thing for the running loop, made when first asked for.

    Args:
        make: Makes it; called in the loop.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._held: tuple[asyncio.AbstractEventLoop, T] | None = None

    def get(self) -> T:
        """The running loop's; that of another loop is dropped as it is, as nobody can close it any more."""
        loop = asyncio.get_running_loop()
        if self._held is None or self._held[0] is not loop:
            self._held = (loop, self._make())
        return self._held[1]

    def take(self) -> T | None:
        """The running loop's, to be closed by the caller; None where none was made."""
        held, self._held = self._held, None
        return held[1] if held is not None and held[0] is asyncio.get_running_loop() else None
