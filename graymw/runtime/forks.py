"""What the forks of this process were for: workers that serve in its place, or helpers that do not serve.

A preforking server's master listens, but its workers answer. Children of ``multiprocessing`` and ``subprocess`` inherit
the sockets of a server as well, and never answer.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Final

_HELPERS: Final = ("multiprocessing", "subprocess", "_posixsubprocess", "concurrent")


class Forks:
    """What is known of the forks before this moment.

    Attributes:
        workers: How many processes were forked that may serve in place of this one.
        is_helper: This process was forked by a library that makes helpers.
    """

    def __init__(self) -> None:
        self.workers = 0
        self.is_helper = False

    def in_parent(self) -> None:
        """A process was forked."""
        self.workers += not _by_helpers()

    def in_child(self) -> None:
        """This process was forked."""
        self.is_helper = self.is_helper or _by_helpers()


def _by_helpers() -> bool:
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no other way to know who forks
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in _HELPERS:
            return True
        frame = frame.f_back
    return False


forks: Final = Forks()
"""Those of this process."""

os.register_at_fork(after_in_parent=forks.in_parent, after_in_child=forks.in_child)
