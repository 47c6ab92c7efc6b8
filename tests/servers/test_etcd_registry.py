"""Standing in etcd, and looking up there, on real servers of both release lines."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from real_etcd import PASSWORD, PROGRAMS, USER, Etcd
from waiting import eventually

from graymw.core.instances import Instance
from graymw.errors import SettingsError, SourceError
from graymw.registries.etcd import EtcdRegistrar, EtcdServices
from graymw.runtime import counters
from graymw.settings.access import Access

DEADLINE = 10.0
SERVICES = "graymw/services/"
ORDERS = Instance("orders", "127.0.0.1", 8001, "v1", weight=3, zone="a")
KEY = f"{SERVICES}orders/127.0.0.1:8001"


def url(etcd: Etcd, path: str = "") -> str:
    return f"etcd://127.0.0.1:{etcd.port}{path}"


def run(job: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(job, 60))


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, DEADLINE)


async def outside(call: Callable[..., Any], *arguments: Any) -> Any:
    """Something that blocks, done by somebody else meanwhile."""
    return await asyncio.to_thread(call, *arguments)


def test_what_is_registered_stands_under_its_address_and_a_lease(etcd: Etcd) -> None:
    async def job() -> None:
        registrar = EtcdRegistrar(url(etcd), Access())
        await registrar.register(ORDERS)
        found = etcd.get(KEY)
        assert found is not None
        assert json.loads(found["value"]) == {
            "host": "127.0.0.1", "port": 8001, "tls": False, "metadata": {"version": "v1", "weight": "3", "zone": "a"},
        }  # fmt: skip
        assert int(found["lease"]) in etcd.leases()
        assert await registrar.heartbeat(ORDERS)
        await registrar.deregister(ORDERS)
        await registrar.deregister(ORDERS)
        assert etcd.get(KEY) is None
        assert etcd.leases() == []
        assert not await registrar.heartbeat(ORDERS)
        await registrar.close()

    run(job())


def test_two_processes_of_one_address_hang_on_one_lease(etcd: Etcd) -> None:
    """The end of one, however it comes, never takes the key that the other keeps alive."""

    async def job() -> None:
        first, second = EtcdRegistrar(url(etcd), Access()), EtcdRegistrar(url(etcd), Access())
        await first.register(ORDERS)
        await second.register(ORDERS)
        assert len(etcd.leases()) == 1
        await first.close()
        assert etcd.get(KEY) is not None
        assert await second.heartbeat(ORDERS)
        await second.close()

    run(job())


def test_without_heartbeats_an_instance_is_gone(etcd: Etcd) -> None:
    async def job() -> None:
        registrar = EtcdRegistrar(url(etcd), Access(), ttl=2)
        assert registrar.heartbeat_seconds < 1
        await registrar.register(ORDERS)
        await registrar.close()
        await outside(eventually, lambda: etcd.get(KEY) is None, 20)
        assert not await registrar.heartbeat(ORDERS)
        await registrar.register(ORDERS)
        assert await registrar.heartbeat(ORDERS)
        await registrar.close()

    run(job())


def test_a_heartbeat_sees_what_the_registry_lost(etcd: Etcd) -> None:
    async def job() -> None:
        registrar = EtcdRegistrar(url(etcd), Access())
        losses: list[Callable[[], object]] = [
            lambda: etcd.delete(KEY),
            lambda: etcd.put(KEY, "127.0.0.1:8001"),  # by somebody else, under no lease
            lambda: etcd.revoke(etcd.leases()[0]),
        ]
        for lose in losses:
            await registrar.register(ORDERS)
            assert await registrar.heartbeat(ORDERS)
            lose()
            assert not await registrar.heartbeat(ORDERS)
        await registrar.close()

    run(job())


def test_a_restart_of_the_server_keeps_instance_and_lease(etcd: Etcd) -> None:
    async def job() -> None:
        registrar = EtcdRegistrar(url(etcd), Access())
        await registrar.register(ORDERS)
        await outside(etcd.stop)
        with pytest.raises(SourceError, match="cannot be reached"):
            await registrar.heartbeat(ORDERS)
        await outside(etcd.start)
        assert await registrar.heartbeat(ORDERS)
        await registrar.close()

    run(job())


def test_a_member_without_a_leader_is_left(
    etcd: Etcd, etcd_version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, but cannot do anything; which member a session begins with is up to chance."""
    alone = Etcd.without_leader(PROGRAMS[etcd_version](), tmp_path)
    orders = [[alone.url, etcd.url], [etcd.url, alone.url]]
    monkeypatch.setattr("graymw.remote.etcd.session.random.sample", lambda *_: orders.pop(0))

    async def job() -> None:
        registrar = EtcdRegistrar(f"etcd://127.0.0.1:{alone.port},127.0.0.1:{etcd.port}", Access())
        with pytest.raises(SourceError):
            await registrar.register(ORDERS)
        await registrar.register(ORDERS)
        assert etcd.get(KEY) is not None
        await registrar.close()

    try:
        run(job())
    finally:
        alone.stop()


@asynccontextmanager
async def catalogue(etcd: Etcd, path: str = "") -> AsyncIterator[AsyncIterator[Mapping[str, tuple[Instance, ...]]]]:
    reports = EtcdServices(url(etcd, path), Access()).watch_all()
    try:
        yield reports
    finally:
        await reports.aclose()  # type: ignore[attr-defined]


def test_entries_of_other_frameworks_are_read_and_what_is_none_is_told_once(
    etcd: Etcd, caplog: pytest.LogCaptureFixture
) -> None:
    etcd.put(f"{SERVICES}user.rpc/7587870460981677828", "10.0.0.7:8080")
    etcd.put(f"{SERVICES}orders/c0ffee", '{"name":"orders","version":"v2","endpoints":["http://10.0.0.8:8000"]}')
    etcd.put(f"{SERVICES}stock/one", '{"Op":0,"Addr":"10.0.0.9:9000","Metadata":{"version":"v1"}}')
    etcd.put(f"{SERVICES}stock/broken", "what is this?")
    etcd.put(f"{SERVICES}readme", "a note")

    async def job() -> None:
        for _ in range(2):
            async with catalogue(etcd) as reports:
                found = await soon(anext(reports))
                assert {service: [one.authority for one in several] for service, several in found.items()} == {
                    "user.rpc": ["10.0.0.7:8080"],
                    "orders": ["10.0.0.8:8000"],
                    "stock": ["10.0.0.9:9000"],
                }

    with caplog.at_level(logging.WARNING, "graymw"):
        run(job())
    assert counters.snapshot()["registry.unreadable"] == 4
    assert len(caplog.records) == 2
    assert "'what is this?' is no HOST:PORT; it is left out" in caplog.text


def test_services_that_did_not_change_keep_their_tuple(etcd: Etcd) -> None:
    etcd.put(f"{SERVICES}orders/1", "10.0.0.7:8080")
    etcd.put(f"{SERVICES}stock/1", "10.0.0.8:8080")

    async def job() -> None:
        async with catalogue(etcd) as reports:
            before = await soon(anext(reports))
            etcd.put(f"{SERVICES}stock/1", "10.0.0.8:8080")  # says nothing new
            etcd.put(f"{SERVICES}stock/2", "10.0.0.9:8080")
            after = await soon(anext(reports))
            assert after["orders"] is before["orders"]
            assert [one.host for one in after["stock"]] == ["10.0.0.8", "10.0.0.9"]
            etcd.delete(f"{SERVICES}orders/1")
            etcd.compact()
            assert "orders" not in await soon(anext(reports))

    run(job())


def test_of_two_entries_of_one_address_the_one_written_last_counts(etcd: Etcd) -> None:
    """A process that was killed and came back stands there twice until its old lease runs out."""
    etcd.put(f"{SERVICES}orders/b", '{"Addr":"10.0.0.7:80","Metadata":{"version":"v1"}}')
    etcd.put(f"{SERVICES}orders/a", '{"Addr":"10.0.0.7:80","Metadata":{"version":"v2"}}')

    async def job() -> None:
        async with catalogue(etcd) as reports:
            assert [one.version for one in (await soon(anext(reports)))["orders"]] == ["v2"]
            etcd.delete(f"{SERVICES}orders/a")
            assert [one.version for one in (await soon(anext(reports)))["orders"]] == ["v1"]

    run(job())


@pytest.mark.parametrize(
    ("path", "key"),
    [("", "graymw/services/orders/1"), ("/team/a", "team/a/orders/1"), ("//micro", "/micro/orders/1"),
     ("/team%20b/", "team b/orders/1"), ("/?root=true", "orders/1")],
)  # fmt: skip
def test_the_path_of_the_url_is_the_prefix(etcd: Etcd, path: str, key: str) -> None:
    etcd.put(key, "10.0.0.7:8080")

    async def job() -> None:
        registrar = EtcdRegistrar(url(etcd, path), Access())
        await registrar.register(ORDERS)
        async with catalogue(etcd, path) as reports:
            assert [one.port for one in (await soon(anext(reports)))["orders"]] == [8080, 8001]
        await registrar.close()

    run(job())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("etcd://", "names no host"),
        ("etcd://h:2379/x?root=true", "leave out one of the two"),
        ("etcd://h:2379?root=yes", "root=yes means nothing"),
        ("etcd://h:2379?prefix=x", "no parameter prefix"),
    ],
)
def test_a_wrong_url_is_told(wrong: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        EtcdServices(wrong, Access())


def test_a_token_lost_with_a_restart_is_renewed(etcd_version: str, tmp_path: Path) -> None:
    server = Etcd(PROGRAMS[etcd_version](), tmp_path).start()
    server.require_users(SERVICES)

    async def job() -> None:
        registrar = EtcdRegistrar(url(server), Access(user=USER, password=PASSWORD))
        await registrar.register(ORDERS)
        await outside(server.restart)
        assert await registrar.heartbeat(ORDERS)
        await registrar.close()

    try:
        run(job())
    finally:
        server.stop()
