"""Blocking calls that go on after they were begun, at the instance that takes them in the end: streams and futures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Event, Lock
from typing import Any, Final, NamedTuple, Self

import grpc

from graymw.clients.containment import contained
from graymw.clients.grpc.ending import again_ended
from graymw.runtime.outbound import Outgoing

_DECIDING: Final = 5.0
"""Seconds that a reader waits at most until it is known whether a failed call is tried again: it takes microseconds."""


class _Try(NamedTuple):
    """One try of the call.

    Attributes:
        call: grpc's own.
        decided: Set when it is known what comes after it.
    """

    call: Any
    decided: Event


class Ongoing(grpc.Call, grpc.Future):  # type: ignore[type-arg]
    """A call under way. Whatever it is asked, the instance answers that took it in the end.

    Args:
        start: Starts grpc's own call as planned.
        replayable: Whether all requests read so far can be sent again.
    """

    def __init__(self, start: Callable[[Outgoing], Any], outgoing: Outgoing, replayable: Callable[[], bool]) -> None:
        self._start = start
        self._replayable = replayable
        self._lock = Lock()
        self._callbacks: list[Callable[[], None]] | None = []
        self._try = self._begin(outgoing)

    def _begin(self, outgoing: Outgoing) -> _Try:
        begun = _Try(self._start(outgoing), Event())
        self._try = begun
        try:
            if not begun.call.add_callback(partial(self._over, begun, outgoing)):
                self._over(begun, outgoing)
        except Exception as error:  # noqa: BLE001 - the call must go on
            contained("grpc", error)
            outgoing.finish()
            begun.decided.set()
        return self._try

    def _over(self, ended: _Try, outgoing: Outgoing) -> None:
        """A try is over: begin the next one, or this was the last. gRPC calls this before or after it wakes readers."""
        again: Outgoing | None = None
        try:
            again = again_ended(outgoing, ended.call.code(), ended.call.details(), replayable=self._replayable())
            if again is not None:
                self._begin(again)
                return
        except Exception as error:  # noqa: BLE001 - the caller is told what gRPC said
            contained("grpc", error)
            (again or outgoing).finish(error=error)
        finally:
            ended.decided.set()
        with self._lock:
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        while True:
            now = self._try
            try:
                return next(now.call)
            except grpc.RpcError:
                if not self._is_followed(now):
                    raise

    def next(self) -> Any:
        """The next response."""
        return next(self)

    def _is_followed(self, ended: _Try) -> bool:
        ended.decided.wait(_DECIDING)
        return self._try is not ended

    def _asked(self, name: str, *args: Any) -> Any:
        """What the last try answers to a question that may wait for it."""
        while True:
            now = self._try
            answer = getattr(now.call, name)(*args)
            if now.call.is_active() or not self._is_followed(now):
                return answer

    def initial_metadata(self) -> Any:
        """Metadata that came first."""
        return self._asked("initial_metadata")

    def trailing_metadata(self) -> Any:
        """Metadata that came last."""
        return self._asked("trailing_metadata")

    def code(self) -> Any:
        """Status of the call."""
        return self._asked("code")

    def details(self) -> Any:
        """What the status says in words."""
        return self._asked("details")

    def is_active(self) -> bool:
        """Whether the call is not over."""
        return bool(self._try.call.is_active())

    def time_remaining(self) -> Any:
        """Seconds until its deadline."""
        return self._try.call.time_remaining()

    def cancel(self) -> Any:
        """Cancel the call."""
        return self._try.call.cancel()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have something called when the call is over; False where it is."""
        with self._lock:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        return bool(self._try.call.cancelled())

    def running(self) -> bool:
        """Whether the call is under way."""
        return bool(self._try.call.running())

    def done(self) -> bool:
        """Whether the call is over."""
        return bool(self._try.call.done())

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end of the call; raises where it failed."""
        while True:
            now = self._try
            try:
                return now.call.result(timeout)
            except grpc.RpcError:
                if not self._is_followed(now):
                    raise

    def exception(self, timeout: float | None = None) -> Any:
        """Wait for the end of the call; what it failed with."""
        return self._asked("exception", timeout)

    def traceback(self, timeout: float | None = None) -> Any:
        """Wait for the end of the call; where it failed."""
        return self._asked("traceback", timeout)

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        """Have something called with this when the call is over."""
        if not self.add_callback(partial(callback, self)):
            callback(self)

    def __getattr__(self, name: str) -> Any:
        if name == "_try":
            raise AttributeError(name)
        return getattr(self._try.call, name)
