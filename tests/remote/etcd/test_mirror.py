"""Against servers that always send back to the beginning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from graymw.remote import pacing
from graymw.remote.etcd.messages import KeyRange, Snapshot, WatchMessage
from graymw.remote.etcd.mirror import READS_AT_ONCE, mirror


class Astray:
    """A session of which no watch can go on from what was read."""

    def __init__(self, message: WatchMessage) -> None:
        self.reads = 0
        self._message = message

    async def read(self, _keys: KeyRange) -> Snapshot:
        self.reads += 1
        return Snapshot(100, ())

    async def watch(self, _keys: KeyRange, _start_revision: int) -> AsyncGenerator[WatchMessage]:
        yield self._message


@pytest.mark.parametrize(
    "message",
    [WatchMessage(10, True, False, 0, "", {}, 0), WatchMessage(300, True, True, 200, "compacted", {}, 0)],
    ids=["a member that lags behind", "a history that is gone"],
)
def test_the_range_is_not_read_in_a_busy_loop(message: WatchMessage, monkeypatch: pytest.MonkeyPatch) -> None:
    session: Any = Astray(message)
    waiting = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async def follow() -> None:
        async for _ in mirror(session, KeyRange.prefix(b"a/")):
            pass

    async def run() -> None:
        monkeypatch.setattr(pacing.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
        following = asyncio.ensure_future(follow())
        await asyncio.wait_for(waiting.wait(), 10)
        following.cancel()
        await asyncio.wait([following])

    asyncio.run(run())
    assert session.reads == READS_AT_ONCE
