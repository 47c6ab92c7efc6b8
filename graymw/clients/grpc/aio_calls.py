"""asyncio calls that go to another instance where no connection to the first could be made.

gRPC tells that a call is over before it wakes who waits for it, so whether it is tried again is known by then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any

from grpc import aio

from graymw.clients.containment import contained
from graymw.clients.grpc.ending import again_ended_aio
from graymw.runtime.outbound import Outgoing


class _Call:
    """A call under way. Whatever it is asked, the instance answers that took it in the end.

    Args:
        start: Starts grpc's own call as planned.
        replayable: Whether all requests read so far can be sent again.
    """

    def __init__(self, start: Callable[[Outgoing], Any], outgoing: Outgoing, replayable: Callable[[], bool]) -> None:
        self._start = start
        self._replayable = replayable
        self._callbacks: list[Callable[[Any], None]] = []
        self._over = False
        self._messages: AsyncIterator[Any] | None = None
        self._begin(outgoing)

    def _begin(self, outgoing: Outgoing) -> None:
        self._call = self._start(outgoing)
        self._call.add_done_callback(partial(self._ended, outgoing))

    def _ended(self, outgoing: Outgoing, call: Any) -> None:
        again: Outgoing | None = None
        try:
            again = again_ended_aio(outgoing, call, replayable=self._replayable())
            if again is not None:
                self._begin(again)
                return
        except Exception as error:  # noqa: BLE001 - the caller is told what gRPC said
            contained("grpc.aio", error)
            (again or outgoing).finish(error=error)
        self._over = True
        for callback in self._callbacks:
            callback(self)

    async def _asked(self, name: str) -> Any:
        """What the last try answers to a question that waits for it."""
        while True:
            call = self._call
            try:
                answer = await getattr(call, name)()
            except BaseException:
                if self._call is call:
                    raise
            else:
                if self._call is call:
                    return answer

    async def initial_metadata(self) -> Any:
        """Metadata that came first."""
        return await self._asked("initial_metadata")

    async def trailing_metadata(self) -> Any:
        """Metadata that came last."""
        return await self._asked("trailing_metadata")

    async def code(self) -> Any:
        """Status of the call."""
        return await self._asked("code")

    async def details(self) -> Any:
        """What the status says in words."""
        return await self._asked("details")

    async def wait_for_connection(self) -> None:
        """Wait until a connection is there."""
        await self._asked("wait_for_connection")

    def cancel(self) -> bool:
        """Cancel the call."""
        return bool(self._call.cancel())

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        return bool(self._call.cancelled())

    def done(self) -> bool:
        """Whether the call is over."""
        return bool(self._call.done())

    def time_remaining(self) -> Any:
        """Seconds until its deadline."""
        return self._call.time_remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have something called when the call is over."""
        if self._over:
            callback(self)
        else:
            self._callbacks.append(callback)

    def __getattr__(self, name: str) -> Any:
        if name == "_call":
            raise AttributeError(name)
        return getattr(self._call, name)


class _OneResponse(_Call):
    def __await__(self) -> Generator[Any, None, Any]:
        return self._response().__await__()

    async def _response(self) -> Any:
        while True:
            call = self._call
            try:
                return await call
            except BaseException:
                if self._call is call:
                    raise


class _Responses(_Call):
    def __aiter__(self) -> AsyncIterator[Any]:
        if self._messages is None:
            self._messages = self._received()
        return self._messages

    async def _received(self) -> AsyncIterator[Any]:
        while True:
            call = self._call
            try:
                async for message in call:
                    yield message
            except BaseException:
                if self._call is call:
                    raise
            else:
                return

    async def read(self) -> Any:
        """The next response."""
        return await self._asked("read")


class _Requests(_Call):
    async def write(self, request: Any) -> None:
        """Send one request."""
        await self._call.write(request)

    async def done_writing(self) -> None:
        """Tell that no request follows."""
        await self._call.done_writing()


class UnaryUnary(_OneResponse, aio.UnaryUnaryCall):  # type: ignore[type-arg]
    """One request, one response."""


class UnaryStream(_Responses, aio.UnaryStreamCall):  # type: ignore[type-arg]
    """One request, many responses."""


class StreamUnary(_Requests, _OneResponse, aio.StreamUnaryCall):  # type: ignore[type-arg]
    """Many requests, one response."""


class StreamStream(_Requests, _Responses, aio.StreamStreamCall):  # type: ignore[type-arg]
    """Many requests, many responses."""
