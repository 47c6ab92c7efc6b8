"""What etcd itself does that a client must know, on real servers of both release lines."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import Certificates, certificates
from real_etcd import PASSWORD, PROGRAMS, USER, Etcd, EtcdError
from serving import free_port
from waiting import eventually

from graymw.core.instances import Instance
from graymw.errors import SourceError
from graymw.remote.etcd import session as sessions
from graymw.remote.etcd.cluster import Cluster
from graymw.remote.etcd.messages import Code, KeyRange, RefusedError
from graymw.remote.etcd.mirror import Changes, mirror
from graymw.remote.etcd.session import Session
from graymw.settings.access import Access

DEADLINE = 10.0
SERVICES = "graymw/services/"
KEYS = KeyRange.prefix(b"mirror/")
ORDERS = Instance("orders", "127.0.0.1", 8001, "v1", weight=3, zone="a")
KEY = f"{SERVICES}orders/127.0.0.1:8001"


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("etcd-tls"))


def url(etcd: Etcd, path: str = "") -> str:
    return f"etcd://127.0.0.1:{etcd.port}{path}"


def cluster_of(url_: str, access: Access | None = None) -> Cluster:
    return Cluster(url_, access or Access(), setting="GRAYMW_REGISTRY", example="etcd://127.0.0.1:2379")


@asynccontextmanager
async def session_of(etcd: Etcd, access: Access | None = None) -> AsyncIterator[Session]:
    async with cluster_of(url(etcd), access).session() as session:
        yield session


def run(job: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(job, 60))


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, DEADLINE)


async def outside(call: Callable[..., Any], *arguments: Any) -> Any:
    """Something that blocks, done by somebody else meanwhile."""
    return await asyncio.to_thread(call, *arguments)


def values(changes: Changes) -> dict[bytes, bytes | None]:
    return {key: entry and entry.value for key, entry in changes.entries.items()}


# Reading and leases


@pytest.mark.parametrize("value", [b"", b"\x00\xff", "ä".encode(), b"x" * 1_048_576])
def test_a_value_comes_back_as_it_was_written(etcd: Etcd, value: bytes) -> None:
    async def job() -> None:
        async with session_of(etcd) as session:
            await session.put(b"\x00key/\xff", value)
            found = await session.read(KeyRange(b"\x00key/\xff"))
            assert [entry.value for entry in found.entries] == [value]
            await session.delete(b"\x00key/\xff")
            assert (await session.read(KeyRange(b"\x00key/\xff"))).entries == ()

    run(job())


def test_a_lease_of_our_number_is_granted_once_and_found_dead_by_its_silence(etcd: Etcd) -> None:
    async def job() -> None:
        async with session_of(etcd) as session:
            assert await session.grant(4711, 30)
            assert not await session.grant(4711, 30)
            assert await session.keep_alive(4711)
            await session.put(b"k", b"v", lease=4711)
            assert (await session.read(KeyRange(b"k"))).entries[0].lease == 4711
            await session.revoke(4711)
            await session.revoke(4711)
            assert not await session.keep_alive(4711)
            assert (await session.read(KeyRange(b"k"))).entries == ()
            with pytest.raises(RefusedError, match="lease not found") as raised:
                await session.put(b"k", b"v", lease=4711)
            assert raised.value.status == Code.NOT_FOUND

    run(job())


def test_what_fails_a_comparison_is_told_by_what_is_not_there(etcd: Etcd) -> None:
    absent = {"key": "aw==", "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
    put = {"request_put": {"key": "aw==", "value": "dg=="}}

    async def job() -> None:
        async with session_of(etcd) as session:
            assert (await session.txn([absent], [put])).get("succeeded")
            assert "succeeded" not in await session.txn([absent], [put])

    run(job())


# Following a range


@asynccontextmanager
async def following(
    etcd: Etcd, access: Access | None = None, keys: KeyRange = KEYS
) -> AsyncIterator[AsyncGenerator[Changes]]:
    async with session_of(etcd, access) as session, aclosing(mirror(session, keys)) as changes:
        yield changes


def test_a_change_between_reading_and_watching_is_not_missed(etcd: Etcd) -> None:
    async def job() -> None:
        async with following(etcd) as changes:
            assert await soon(anext(changes)) == Changes({}, whole=True)
            etcd.put("mirror/a", "1")  # the watch begins when the next change is asked for
            etcd.put("elsewhere", "1")
            assert values(await soon(anext(changes))) == {b"mirror/a": b"1"}

    run(job())


def test_every_kind_of_change_is_followed(etcd: Etcd) -> None:
    etcd.put("mirror/a", "1")

    async def job() -> None:
        async with following(etcd) as changes:
            assert values(await soon(anext(changes))) == {b"mirror/a": b"1"}
            etcd.put("mirror/b", "")
            assert values(await soon(anext(changes))) == {b"mirror/b": b""}
            etcd.delete("mirror/a")
            assert values(await soon(anext(changes))) == {b"mirror/a": None}

    run(job())


def test_where_the_history_was_compacted_meanwhile_the_range_is_read_anew(etcd: Etcd) -> None:
    etcd.put("mirror/a", "1")
    etcd.put("mirror/gone", "1")

    async def job() -> None:
        async with following(etcd) as changes:
            await soon(anext(changes))
            etcd.put("mirror/a", "2")
            etcd.delete("mirror/gone")
            etcd.put("mirror/b", "1")
            etcd.compact()
            read_anew = await soon(anext(changes))
            assert read_anew.whole
            assert values(read_anew) == {b"mirror/a": b"2", b"mirror/b": b"1"}
            etcd.put("mirror/c", "1")
            assert values(await soon(anext(changes))) == {b"mirror/c": b"1"}

    run(job())


def test_a_watch_that_is_silent_begins_anew_where_it_stood(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    watch = Session.watch

    def spied(self: Session, keys: KeyRange, start_revision: int) -> Any:
        begun.append(start_revision)
        return watch(self, keys, start_revision)

    monkeypatch.setattr(sessions, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(Session, "watch", spied)

    async def job() -> None:
        async with following(etcd) as changes:
            await soon(anext(changes))
            etcd.put("mirror/a", "1")
            await soon(anext(changes))
            change = asyncio.ensure_future(anext(changes))
            await outside(eventually, lambda: len(begun) >= 4)
            assert len(set(begun[1:])) == 1
            assert begun[1] > begun[0]
            etcd.put("mirror/b", "1")
            assert values(await soon(change)) == {b"mirror/b": b"1"}

    run(job())


def test_what_is_asked_of_a_store_that_began_anew_is_read_anew(etcd_version: str, tmp_path: Path) -> None:
    """A cluster set up again with the same members has the same name, and lower revisions."""
    first = Etcd(PROGRAMS[etcd_version](), tmp_path).start()
    for number in range(20):
        first.put("mirror/a", str(number))

    async def job() -> None:
        async with session_of(first) as session:
            revision = (await session.read(KEYS)).revision
            await outside(first.stop)
            first.forget()
            await outside(first.start)
            async with aclosing(session.watch(KEYS, revision + 1)) as messages:
                assert (await soon(anext(messages))).revision < revision

    try:
        run(job())
    finally:
        first.stop()


def test_a_server_that_stops_ends_the_watch_with_a_sentence(etcd: Etcd) -> None:
    async def job() -> None:
        async with following(etcd) as changes:
            await soon(anext(changes))
            change = asyncio.ensure_future(anext(changes))
            await until_watched(etcd)
            await outside(etcd.stop)
            with pytest.raises(SourceError, match=r"not available now|ended the watch|broke off"):
                await soon(change)

    run(job())


async def until_watched(etcd: Etcd) -> None:
    await outside(eventually, etcd.watchers, DEADLINE)


def test_a_watch_that_is_cancelled_is_gone_from_the_server_at_once(etcd: Etcd) -> None:
    async def job() -> None:
        async with following(etcd) as changes:
            await soon(anext(changes))
            change = asyncio.ensure_future(anext(changes))
            await until_watched(etcd)
            change.cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(change)
        await outside(eventually, lambda: not etcd.watchers(), DEADLINE)

    run(job())


# Members


def test_a_member_that_is_down_is_passed_over(etcd: Etcd) -> None:
    dead = free_port()
    etcd.put("k", "v")

    async def job() -> None:
        for _ in range(5):  # the order is random
            async with cluster_of(f"etcd://127.0.0.1:{dead},127.0.0.1:{etcd.port}").session() as session:
                assert [entry.value for entry in (await session.read(KeyRange(b"k"))).entries] == [b"v"]

    run(job())


def test_a_member_cut_off_from_the_others_ends_the_watch(etcd_version: str, tmp_path: Path) -> None:
    members = Etcd.cluster(PROGRAMS[etcd_version](), tmp_path, 3)
    with ExitStack() as running:
        for member in members:
            running.callback(member.stop)

        async def job() -> None:
            async with following(members[0]) as changes:
                await soon(anext(changes))
                change = asyncio.ensure_future(anext(changes))
                await until_watched(members[0])
                for member in members[1:]:
                    await outside(member.kill)
                with pytest.raises(SourceError, match="no leader"):
                    await asyncio.wait_for(change, 20)

        run(job())


def test_what_is_no_client_port_is_told(etcd: Etcd) -> None:
    async def job() -> None:
        async with cluster_of(f"etcd://127.0.0.1:{etcd.peer_port}").session() as session:
            with pytest.raises(SourceError, match="name the client port"):
                await session.read(KEYS)

    run(job())


def test_a_gateway_that_is_off_is_told(etcd_version: str, tmp_path: Path) -> None:
    """As it is in 3.4 where a file configures it."""
    server = Etcd(PROGRAMS[etcd_version](), tmp_path, gateway=False).start()

    async def job() -> None:
        async with following(server) as changes:
            with pytest.raises(SourceError, match=r"404 page not found.*enable-grpc-gateway"):
                await soon(anext(changes))

    try:
        run(job())
    finally:
        server.stop()


# Users


@pytest.fixture
def users(etcd_version: str, tmp_path: Path) -> Iterator[Etcd]:
    """Tokens that run out in seconds whether or not they are used."""
    for arguments in (
        ["genrsa", "-out", "private.pem", "2048"],
        ["rsa", "-in", "private.pem", "-pubout", "-out", "public.pem"],
    ):
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)
    keys = f"pub-key={tmp_path / 'public.pem'},priv-key={tmp_path / 'private.pem'}"
    server = Etcd(
        PROGRAMS[etcd_version](), tmp_path, options=(f"--auth-token=jwt,{keys},sign-method=RS256,ttl=2s",)
    ).start()
    server.require_users("mirror/")
    yield server
    server.stop()


GRAY = Access(user=USER, password=PASSWORD)


def accepts(etcd: Etcd, token: str) -> bool:
    try:
        etcd.call("range", {"key": "bWlycm9yL2E="}, token=token)
    except EtcdError:
        return False
    return True


def test_a_token_that_ran_out_is_renewed_for_requests_and_watches(users: Etcd) -> None:
    async def job() -> None:
        cluster = cluster_of(url(users), GRAY)
        async with cluster.session() as session:
            await session.put(b"mirror/a", b"1")
            token = cluster.token
            assert token
            await outside(eventually, lambda: not accepts(users, token), DEADLINE)
            await session.put(b"mirror/a", b"2")
            token = cluster.token
            async with aclosing(mirror(session, KEYS)) as changes:
                await soon(anext(changes))
                await outside(eventually, lambda: not accepts(users, token), DEADLINE)
                change = asyncio.ensure_future(anext(changes))
                await until_watched(users)
                assert cluster.token != token
                users.become_root()
                users.put("mirror/a", "3")
                assert values(await soon(change)) == {b"mirror/a": b"3"}

    run(job())


def test_a_token_older_than_a_change_of_users_is_renewed(users: Etcd) -> None:
    async def job() -> None:
        async with session_of(users, GRAY) as session:
            await session.put(b"mirror/a", b"1")
            users.become_root()
            users.call("auth/user/add", {"name": "newcomer", "password": "x"})
            await session.put(b"mirror/a", b"2")
            users.become_root()
            users.call("auth/user/delete", {"name": "newcomer"})
            async with aclosing(session.watch(KEYS, 1)) as messages:
                assert (await soon(anext(messages))).created

    run(job())


@pytest.mark.parametrize(
    ("access", "told"),
    [
        (Access(), "wants a user for keys that begin with 'mirror/'; set GRAYMW_REGISTRY_USER and "),
        (Access(user=USER, password="wrong-passw0rd"), "mend GRAYMW_REGISTRY_USER and GRAYMW_REGISTRY_PASSWORD"),
        (Access(user="nobody", password="wrong-passw0rd"), "refuses user 'nobody' or its password"),
        (Access(token="wrong-token.7"), "invalid auth token"),
    ],
)
def test_a_wrong_login_is_one_sentence_with_the_mend(users: Etcd, access: Access, told: str) -> None:
    async def job() -> None:
        async with following(users, access) as changes:
            with pytest.raises(SourceError, match=told) as raised:
                await soon(anext(changes))
            assert "wrong-" not in str(raised.value)

    run(job())


def test_what_the_user_may_not_read_is_told(users: Etcd) -> None:
    async def job() -> None:
        async with following(users, GRAY, KeyRange(b"secret")) as changes:
            with pytest.raises(SourceError, match="etcd denies user 'gray' the key 'secret'; grant its role"):
                await soon(anext(changes))

    run(job())


def test_a_ready_token_counts(users: Etcd) -> None:
    token = users.call("auth/authenticate", {"name": USER, "password": PASSWORD})["token"]

    async def job() -> None:
        async with following(users, Access(token=token)) as changes:
            assert (await soon(anext(changes))).whole

    run(job())


def test_a_user_counts_from_the_url_where_the_settings_have_none(users: Etcd) -> None:
    cluster = cluster_of(f"etcd://{USER}:s3cret%2Fp%C3%A4ss@127.0.0.1:{users.port}")
    assert PASSWORD not in cluster.name
    assert "s3cret" not in cluster.name

    async def job() -> None:
        async with cluster.session() as session:
            await session.read(KEYS)

    run(job())


def test_a_user_does_no_harm_where_the_server_has_none(etcd: Etcd) -> None:
    async def job() -> None:
        async with following(etcd, GRAY) as changes:
            assert (await soon(anext(changes))).whole

    run(job())


# TLS


def test_tls_with_certificates_on_both_sides(etcd_version: str, tmp_path: Path, signed: Certificates) -> None:
    server = Etcd(PROGRAMS[etcd_version](), tmp_path, certificates=signed, client_certificates=True).start()
    right = Access(ca=str(signed.ca), cert=str(signed.cert), key=str(signed.key))
    wrong = {
        "certificate verify failed": Access(),
        r"broke off the answer|cannot be reached": Access(ca=str(signed.ca)),
        "certificates cannot be used: /nowhere is not there": Access(ca="/nowhere"),
    }

    async def job() -> None:
        async with cluster_of(url(server).replace("etcd:", "etcd+https:"), right).session() as session:
            await session.put(b"mirror/a", b"1")
            async with aclosing(mirror(session, KEYS)) as changes:
                await soon(anext(changes))
                server.put("mirror/a", "2")
                assert values(await soon(anext(changes))) == {b"mirror/a": b"2"}
        for told, access in wrong.items():
            with pytest.raises(SourceError, match=told):
                async with cluster_of(url(server).replace("etcd:", "etcd+https:"), access).session() as session:
                    await session.read(KEYS)
        async with session_of(server) as session:
            with pytest.raises(SourceError, match="broke off the answer"):
                await session.read(KEYS)

    try:
        run(job())
    finally:
        server.stop()
