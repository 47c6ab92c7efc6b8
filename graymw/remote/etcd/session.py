"""Requests to one etcd cluster over connections of one event loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, Self

from graymw.errors import SourceError
from graymw.remote.etcd.login import Login
from graymw.remote.etcd.messages import (
    MISREAD,
    Code,
    Json,
    KeyRange,
    RefusedError,
    Snapshot,
    WatchMessage,
    decoded,
    encoded,
    number,
    refusal_of,
    snapshot,
    unreadable,
    watch_message,
)
from graymw.remote.http import HttpClient
from graymw.settings.access import Access

ANSWER_SECONDS: Final = 5.0
"""How long an answer may take, and how long a watch may take to begin."""

SILENCE_SECONDS: Final = 30.0
"""How long a watch may be silent before it is begun anew where it stood: silence is also what a connection that was
lost without a word looks like, and etcd's own progress messages come every ten minutes."""

_ALREADY: Final = "lease already exists"


class SilentError(SourceError):
    """A watch has said nothing for so long that it is better begun anew."""


class Session:
    """Requests to one cluster. To be made, used and closed in one event loop.

    Args:
        base_urls: Its members. They are tried in random order, so that processes spread over them, and come back to
            another one after trouble.
        access: Credentials for TLS.
        login: Who we are; outlives the session.
    """

    def __init__(self, base_urls: Sequence[str], access: Access, login: Login) -> None:
        self._login = login
        members = random.sample(base_urls, len(base_urls))
        self._http = HttpClient(members, access, backend="etcd", timeout=ANSWER_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.close()

    async def read(self, keys: KeyRange, *, last: int = 0, keys_only: bool = False) -> Snapshot:
        """What a range holds now, as a majority of the cluster knows it, in the order of its keys.

        Args:
            last: As many of its last keys are read, the last one first; 0: all, the first one first.
            keys_only: Leave the values out.
        """
        body = {**keys.json, "keys_only": keys_only}
        if last:
            body |= {"sort_order": "DESCEND", "sort_target": "KEY", "limit": str(last)}
        answer = await self._ask("/v3/kv/range", body, keys.shown)
        try:
            return snapshot(answer)
        except MISREAD as error:
            raise unreadable(str(answer).encode()) from error

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        """Write a key.

        Raises:
            RefusedError: With ``Code.NOT_FOUND`` where the lease is dead.
        """
        body = {"key": encoded(key), "value": encoded(value), "lease": str(lease)}
        await self._ask("/v3/kv/put", body, KeyRange(key).shown)

    async def delete(self, key: bytes) -> None:
        """Remove a key; no error where there is none."""
        await self._ask("/v3/kv/deleterange", KeyRange(key).json, KeyRange(key).shown)

    async def txn(self, compare: Sequence[Json], success: Sequence[Json], failure: Sequence[Json] = ()) -> Json:
        """Do one or the other, whichever the comparison says, at once; the answer as the gateway gives it.

        A comparison that fails shows by the lack of ``succeeded``.
        """
        body = {"compare": list(compare), "success": list(success), "failure": list(failure)}
        return await self._ask("/v3/kv/txn", body, "transaction")

    async def grant(self, lease: int, seconds: int) -> bool:
        """Begin a lease of a number of our choice; False where it lives already."""
        try:
            await self._ask("/v3/lease/grant", {"ID": str(lease), "TTL": str(seconds)}, "lease")
        except RefusedError as error:
            if error.status == Code.FAILED_PRECONDITION and _ALREADY in error.told:
                return False
            raise
        return True

    async def keep_alive(self, lease: int) -> bool:
        """Have a lease run its whole time again; False where it is dead, which the answer tells by lack of a TTL."""
        answer = await self._ask("/v3/lease/keepalive", {"ID": str(lease)}, "lease")
        try:
            return number(answer["result"], "TTL") > 0
        except MISREAD as error:
            raise unreadable(str(answer).encode()) from error

    async def revoke(self, lease: int) -> None:
        """End a lease, and with it the keys that hang on it; no error where it is dead."""
        try:
            await self._ask("/v3/lease/revoke", {"ID": str(lease)}, "lease")
        except RefusedError as error:
            if error.status != Code.NOT_FOUND:
                raise

    async def watch(self, keys: KeyRange, start_revision: int) -> AsyncGenerator[WatchMessage]:
        """Messages of a watch that tells every change from a revision on, which may lie in the past.

        Ends after a message that is ``canceled`` since the history is compacted.

        Raises:
            SilentError: Nothing was said for ``SILENCE_SECONDS``.
            SourceError: The watch is refused, or broke.
        """
        begun = renewed = False
        while True:
            try:
                async with aclosing(self._watch(keys, start_revision)) as messages:
                    async for message in messages:
                        begun = True
                        yield message
            except RefusedError as error:
                if begun or renewed or not self._login.renewable(error, watch=True):
                    raise self._login.told(error, keys.shown) from error
                renewed = True
            else:
                return

    async def _watch(self, keys: KeyRange, start_revision: int) -> AsyncGenerator[WatchMessage]:
        wanted = {**keys.json, "start_revision": str(start_revision), "progress_notify": True}
        headers = {**await self._login.headers(self._http), **_LEADER_NEEDED}
        stream = self._http.lines(
            "POST",
            "/v3/watch",
            json={"create_request": wanted},
            headers=headers,
            read_timeout=SILENCE_SECONDS + ANSWER_SECONDS,
        )
        async with stream as (status, lines):
            try:
                line = await _next(lines, ANSWER_SECONDS)
            except TimeoutError:
                raise SourceError("etcd did not begin the watch in time") from None
            if status != 200:
                raise refusal_of(line)
            while True:
                message = watch_message(line)
                if message.canceled and not message.compact_revision:
                    raise RefusedError(0, message.reason or "the watch was canceled")
                yield message
                if message.canceled:
                    return
                try:
                    line = await _next(lines, SILENCE_SECONDS)
                except TimeoutError:
                    raise SilentError(f"etcd said nothing for {SILENCE_SECONDS:g} seconds") from None

    async def _ask(self, path: str, body: dict[str, Any], what: str) -> Json:
        """The answer to a request.

        Raises:
            RefusedError: The server refuses.
            SourceError: Nobody answers.
        """
        for attempt in range(2):
            headers = await self._login.headers(self._http)
            answer = await self._http.request("POST", path, json=body, headers=headers)
            if answer.status == 200:
                return decoded(answer.content)
            error = refusal_of(answer.content)
            if attempt == 0 and self._login.renewable(error):
                continue
            break
        raise self._login.told(error, what)


_LEADER_NEEDED: Final = {"grpc-metadata-hasleader": "true"}
"""A member that is cut off from the others would keep the watch open, and silent; with this it ends it."""


async def _next(lines: AsyncIterator[bytes], seconds: float) -> bytes:
    """The next line that holds something; ``TimeoutError`` where it does not come in time."""
    async with asyncio.timeout(seconds):
        async for line in lines:
            if line:
                return line
    raise SourceError("etcd ended the watch")
