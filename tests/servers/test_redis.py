"""The Redis rule source against a real server, beyond the laws of all sources."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from certificates import certificates
from real_redis import PASSWORD, USER, RedisServer

from graymw.errors import SourceError
from graymw.remote import redis as remote_redis
from graymw.settings.access import Access
from graymw.sources.redis import RedisSource

DEADLINE = 10.0
KEY = "graymw:rules.yaml"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


Next = Callable[[], Awaitable[bytes | str | None]]


def watching(source: RedisSource, steps: Callable[[Next], Awaitable[None]]) -> None:
    async def run() -> None:
        changes = source.watch()

        async def following() -> bytes | str | None:
            return (await asyncio.wait_for(anext(changes), DEADLINE)).text

        try:
            await following()
            await steps(following)
        finally:
            await changes.aclose()

    asyncio.run(run())


def source_of(server: RedisServer, access: Access | None = None, **options: float) -> RedisSource:
    return RedisSource(f"redis://{server.authority}/0?key={KEY}", access or Access(), **options)


def test_the_key_tells_the_format(server: RedisServer) -> None:
    assert asyncio.run(source_of(server).load()).format == "yaml"


def test_what_is_written_without_a_message_is_found_by_looking(server: RedisServer) -> None:
    async def steps(following: Next) -> None:
        server.call("SET", KEY, "a")
        assert await following() == b"a"

    watching(source_of(server, poll=0.1), steps)


def test_a_message_is_heeded_at_once(server: RedisServer) -> None:
    """There is no poll within the deadline of this test."""

    async def steps(following: Next) -> None:
        for content in ("a", "b", "c"):
            server.write(KEY, content)
            assert await following() == content.encode()

    watching(source_of(server, poll=60 * DEADLINE), steps)


def test_messages_without_a_change_are_no_change(server: RedisServer) -> None:
    async def steps(following: Next) -> None:
        for _ in range(5):
            server.write(KEY, "a")
        assert await following() == b"a"
        server.write(KEY, "a")
        server.write(KEY, "b")
        assert await following() == b"b"

    watching(source_of(server, poll=60 * DEADLINE), steps)


def test_a_lost_subscription_ends_the_watch(server: RedisServer) -> None:
    """So that whoever watches begins anew with what is there; something may have been missed."""

    async def steps(following: Next) -> None:
        waiting = asyncio.ensure_future(following())
        await asyncio.sleep(0)
        assert server.call("CLIENT", "KILL", "TYPE", "pubsub") == 1
        with pytest.raises(SourceError, match="cannot be reached"):
            await waiting

    watching(source_of(server, poll=60 * DEADLINE), steps)


def test_a_server_that_hangs_ends_the_watch(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_redis, "SECONDS", 0.3)

    async def steps(following: Next) -> None:
        os.kill(server.process_id, signal.SIGSTOP)
        try:
            with pytest.raises(SourceError, match=f"redis at {server.authority} cannot be reached .*Timeout"):
                await following()
        finally:
            os.kill(server.process_id, signal.SIGCONT)

    watching(source_of(server, poll=0.1), steps)


def test_another_database_is_another_key_space(server: RedisServer) -> None:
    server.write(KEY, "a")
    other = RedisSource(f"redis://{server.authority}/3?key={KEY}", Access())
    assert asyncio.run(other.load()).text is None


def test_a_database_that_is_not_there_is_told_with_the_mend(server: RedisServer) -> None:
    with pytest.raises(SourceError, match="check the key and the database in GRAYMW_RULES"):
        asyncio.run(RedisSource(f"redis://{server.authority}/99?key={KEY}", Access()).load())


def test_a_key_that_holds_no_text_is_told_with_the_mend(server: RedisServer) -> None:
    server.call("LPUSH", KEY, "a")
    with pytest.raises(SourceError, match=r"WRONGTYPE.*; check the key"):
        asyncio.run(source_of(server).load())


def test_a_key_that_is_too_long_is_refused(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graymw.sources.redis.MAX_BYTES", 3)
    server.write(KEY, "long")
    with pytest.raises(SourceError, match="4 bytes, of at most 3; name the key of the rule document"):
        asyncio.run(source_of(server).load())


def test_a_user_needs_no_more_than_to_read_and_to_listen(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, users=True)
    server.start()
    try:
        server.write(KEY, "a")
        in_url = RedisSource(f"redis://{USER}:s3cret%2Fp%C3%A4ss@{server.authority}?key={KEY}", Access())
        for source in (source_of(server, Access(user=USER, password=PASSWORD)), in_url):
            assert asyncio.run(source.load()).text == b"a"
        elsewhere = RedisSource(f"redis://{server.authority}?key=secrets", Access(user=USER, password=PASSWORD))
        for refused in (source_of(server), elsewhere):
            with pytest.raises(SourceError, match="check GRAYMW_RULES_USER and GRAYMW_RULES_PASSWORD"):
                asyncio.run(refused.load())
    finally:
        server.stop()


def test_tls_is_checked(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    server = RedisServer(tmp_path, certificates=made)
    server.start()
    try:
        server.write(KEY, "a")

        def loaded(access: Access) -> object:
            return asyncio.run(RedisSource(f"rediss://{server.authority}?key={KEY}", access).load()).text

        client = {"cert": str(made.cert), "key": str(made.key)}
        assert loaded(Access(ca=str(made.ca), **client)) == b"a"  # type: ignore[arg-type]
        assert loaded(Access(verify=False, **client)) == b"a"  # type: ignore[arg-type]
        with pytest.raises(SourceError, match="certificate verify failed"):
            loaded(Access(**client))  # type: ignore[arg-type]
        with pytest.raises(SourceError, match="cannot be reached"):
            loaded(Access(ca=str(made.ca)))
        with pytest.raises(SourceError, match=r"nowhere\.pem is not there; check the settings that end in _CA"):
            loaded(Access(ca="nowhere.pem"))
        with pytest.raises(SourceError, match="cannot be reached"):
            asyncio.run(source_of(server).load())
    finally:
        server.stop()
