"""Requests of a streaming call that can be read from their start again.

gRPC reads them before it has a connection, but waits with the next one until the last is on its way. So a few of them
are kept, which is all that is ever read of a call that found no connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from threading import Lock
from typing import Any, Final

KEPT: Final = 4
"""Requests kept from the start of a stream."""


class Rewindable:
    """Requests of a blocking call.

    Args:
        requests: Read once, one after the other, however often ``read`` is called.
    """

    def __init__(self, requests: Iterator[Any]) -> None:
        self._source = requests
        self._kept: list[Any] = []
        self._lock = Lock()
        self.replayable = True
        """Whether all that was read is kept."""

    def read(self) -> Iterator[Any]:
        """The requests from the start. A reader that is given up may wait in its last step: nothing of it is lost."""
        place = 0
        while True:
            with self._lock:
                if place < len(self._kept):
                    request = self._kept[place]
                else:
                    try:
                        request = next(self._source)
                    except StopIteration:
                        return
                    self._keep(request)
            place += 1
            yield request

    def _keep(self, request: Any) -> None:
        if len(self._kept) < KEPT:
            self._kept.append(request)
        else:
            self.replayable = False


class AsyncRewindable:
    """Requests of an asyncio call.

    Args:
        requests: Asynchronous or not.
    """

    def __init__(self, requests: Any) -> None:
        self._source = aiter(requests) if isinstance(requests, AsyncIterable) else _asynchronous(requests)
        self._kept: list[Any] = []
        self._lock = asyncio.Lock()
        self.replayable = True
        """Whether all that was read is kept."""

    async def read(self) -> AsyncIterator[Any]:
        """As ``Rewindable.read``."""
        place = 0
        while True:
            async with self._lock:
                if place < len(self._kept):
                    request = self._kept[place]
                else:
                    try:
                        request = await anext(self._source)
                    except StopAsyncIteration:
                        return
                    if len(self._kept) < KEPT:
                        self._kept.append(request)
                    else:
                        self.replayable = False
            place += 1
            yield request


async def _asynchronous(requests: Any) -> AsyncIterator[Any]:
    for request in requests:
        yield request
