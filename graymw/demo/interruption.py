"""Being told to stop: Ctrl-C, SIGTERM and a closed terminal end the demo in one way, never inside a critical step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The demo was told to stop; ``exit_code`` is the shell's convention, 128 + signal."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum
        super().__init__(signal.Signals(signum).name)


class Interruption:
    """Turns those signals into ``Interrupted``; use as a context manager.

    Outside the main thread Python delivers no signals, and nothing is changed.

    Attributes:
        pending: A signal that came in a shielded step, raised at its end; None without one.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._shields = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._received) for signum in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _received(self, signum: int, _frame: FrameType | None) -> None:
        if self._shields:
            self.pending = signum
        else:
            raise Interrupted(signum)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """A step that must not stop halfway, such as starting a process and noting that it was started."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self.pending is not None and not self._shields:
            signum, self.pending = self.pending, None
            raise Interrupted(signum)
