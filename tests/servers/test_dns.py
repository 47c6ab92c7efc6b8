"""The DNS registry against a real name server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from real_consul import Consul
from real_dns import DnsServer, host, running, srv

from graymw.core.instances import Instance
from graymw.errors import SourceError
from graymw.registries.dns import DnsRegistry
from graymw.remote import dns as remote_dns
from graymw.remote.dns import DnsClient

DEADLINE = 10.0
ORDERS = [
    srv("_orders._tcp.mesh.test", "o1.mesh.test", 8001, weight=3),
    srv("_orders._tcp.mesh.test", "o2.mesh.test", 8002, weight=1),
    host("o1.mesh.test", "127.0.0.1"),
    host("o2.mesh.test", "127.0.0.2"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DnsServer]:
    with running(tmp_path, ORDERS) as server:
        yield server


def places(instances: tuple[Instance, ...]) -> list[tuple[str, int, str, int]]:
    return [(it.host, it.port, it.version, it.weight) for it in instances]


def once(server: DnsServer, parameters: str = "", service: str = "orders", domain: str = "mesh.test") -> list[object]:
    async def run() -> tuple[Instance, ...]:
        changes = DnsRegistry(f"dns://{server.address}/{domain}{parameters}").watch(service)
        return await asyncio.wait_for(anext(changes), DEADLINE)

    return list(places(asyncio.run(run())))


async def soon(changes: AsyncIterator[tuple[Instance, ...]]) -> list[tuple[str, int, str, int]]:
    return places(await asyncio.wait_for(anext(changes), DEADLINE))


def test_srv_records_tell_port_and_weight(server: DnsServer) -> None:
    assert once(server) == [("127.0.0.1", 8001, "", 3), ("127.0.0.2", 8002, "", 1)]


def test_a_service_that_dns_does_not_know_has_no_instances(server: DnsServer) -> None:
    assert once(server, service="unheard") == []


def test_only_the_best_priority_counts(server: DnsServer) -> None:
    server.holds([*ORDERS, srv("_orders._tcp.mesh.test", "o3.mesh.test", 8003, priority=2)])
    assert [it[0] for it in once(server)] == ["127.0.0.1", "127.0.0.2"]


def test_the_next_priority_counts_where_the_best_has_no_address(server: DnsServer) -> None:
    targets = [("gone.mesh.test", 1, 1), ("o2.mesh.test", 2, 9)]
    records = [srv("_x._tcp.mesh.test", target, port, priority=priority) for target, port, priority in targets]
    server.holds([*ORDERS[2:], *records])
    assert once(server, service="x") == [("127.0.0.2", 2, "", 1)]


def test_weights_of_zero_everywhere_are_equal_weights(server: DnsServer) -> None:
    server.holds([*ORDERS[2:], *(srv("_x._tcp.mesh.test", f"o{n}.mesh.test", n, weight=0) for n in (1, 2))])
    assert once(server, service="x") == [("127.0.0.1", 1, "", 1), ("127.0.0.2", 2, "", 1)]


def test_a_weight_of_zero_beside_others_takes_no_traffic_and_large_weights_keep_their_ratio(server: DnsServer) -> None:
    weights = {"o1": 60_000, "o2": 0, "o3": 30_000, "o4": 1}
    records = [srv("_x._tcp.mesh.test", f"{name}.mesh.test", 1, weight=weight) for name, weight in weights.items()]
    addresses = [host(f"{name}.mesh.test", f"127.0.0.{name[1]}") for name in weights]
    server.holds([*records, *addresses])
    assert [it[3] for it in once(server, service="x")] == [10_000, 0, 5_000, 1]  # type: ignore[index]


def test_addresses_with_one_port_for_all(server: DnsServer) -> None:
    server.holds([host("orders.mesh.test", "127.0.0.1"), host("orders.mesh.test", "127.0.0.2")])
    assert once(server, "?record=a&port=9000") == [("127.0.0.1", 9000, "", 1), ("127.0.0.2", 9000, "", 1)]


def test_ipv6_counts_where_there_is_no_ipv4(server: DnsServer) -> None:
    server.holds([host("six.mesh.test", "::1"), host("both.mesh.test", "127.0.0.1", "::1")])
    assert once(server, "?record=a&port=1", "six") == [("::1", 1, "", 1)]
    assert once(server, "?record=a&port=1", "both") == [("127.0.0.1", 1, "", 1)]


def test_versions_are_names(server: DnsServer) -> None:
    """As Consul's tags: ``v2.orders.mesh.test``."""
    server.holds([host("v1.orders.mesh.test", "127.0.0.1"), host("v2.orders.mesh.test", "127.0.0.2")])
    parameters = "?record=a&port=80&name={version}.{service}&versions=v1,v2,v3"
    assert once(server, parameters) == [("127.0.0.1", 80, "v1", 1), ("127.0.0.2", 80, "v2", 1)]


def test_one_name_per_version_and_service(server: DnsServer) -> None:
    """As Kubernetes' Services: ``_http._tcp.orders-v2.mesh.test``."""
    server.holds([srv("_http._tcp.orders-v2.mesh.test", "o2.mesh.test", 8002), ORDERS[3]])
    assert once(server, "?name=_http._tcp.{service}-{version}&versions=v1,v2") == [("127.0.0.2", 8002, "v2", 1)]


def test_five_hundred_instances_come_over_tcp(server: DnsServer, tmp_path: Path) -> None:
    """Short names: in an answer over 16 KiB dnsmasq points to names where no pointer reaches (RFC 1035, §4.1.4)."""
    count = 500
    records = [srv("_b._tcp.t", f"{n}.t", 8000 + n) for n in range(count)]
    addresses = [host(f"{n}.t", f"127.1.{n // 250}.{n % 250 + 1}") for n in range(count)]
    with running(tmp_path, [*records, *addresses], domain="t") as big:
        for transport in ("udp", "tcp"):
            found = once(big, f"?transport={transport}", "b", "t")
            assert len(set(found)) == count


def test_targets_without_an_address_beside_them_are_asked_for(tmp_path: Path) -> None:
    """An alias is no address, so dnsmasq does not send it along; 300 of them are asked for a few at a time."""
    targets = [f"h{n}.mesh.test" for n in range(300)]
    records = [srv("_orders._tcp.mesh.test", f"alias-{target}", 80 + n) for n, target in enumerate(targets)]
    aliases = [f"cname=alias-{target},{target}" for target in targets]
    addresses = [host(target, f"127.2.{n // 250}.{n % 250 + 1}") for n, target in enumerate(targets)]
    with running(tmp_path, [*records, *aliases, *addresses]) as server:
        assert len(set(once(server))) == len(targets)


def test_it_asks_again_when_the_answer_has_run_out(server: DnsServer) -> None:
    async def run() -> None:
        changes = DnsRegistry(f"dns://{server.address}/mesh.test?record=a&port=80").watch("orders")
        assert await soon(changes) == []
        server.holds([host("orders.mesh.test", "127.0.0.1")])
        assert await soon(changes) == [("127.0.0.1", 80, "", 1)]
        server.holds([host("orders.mesh.test", "127.0.0.7")])
        assert await soon(changes) == [("127.0.0.7", 80, "", 1)]
        server.holds([])
        assert await soon(changes) == []

    asyncio.run(run())


def test_a_server_that_rotates_its_answers_changes_nothing(server: DnsServer) -> None:
    server.holds([host("orders.mesh.test", f"127.0.0.{n}") for n in range(1, 9)])

    async def run() -> None:
        registry = DnsRegistry(f"dns://{server.address}/mesh.test?record=a&port=80", floor=0.01)
        changes = registry.watch("orders")
        assert len(await soon(changes)) == 8
        task = asyncio.ensure_future(anext(changes))
        done, _ = await asyncio.wait([task], timeout=2.5)
        assert not done
        task.cancel()

    asyncio.run(run())


def test_a_server_that_is_not_there_is_an_error_and_not_an_absence(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_dns, "SECONDS", 0.5)
    server.stop()
    with pytest.raises(SourceError, match=rf"the name server {server.address} did not answer for \S+ within 0.5 s"):
        once(server)


def test_a_server_that_hangs_is_an_error_too(server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_dns, "SECONDS", 0.5)
    server.hang()
    try:
        with pytest.raises(SourceError, match="did not answer"):
            once(server)
    finally:
        server.go_on()


def test_a_refusal_is_an_error_and_not_an_absence(server: DnsServer) -> None:
    with pytest.raises(SourceError, match=f"{server.address} cannot answer for .*REFUSED"):
        once(server, domain="elsewhere.test")


def test_a_server_that_comes_back_is_asked_again_in_the_same_watch_where_no_question_met_the_gap(
    server: DnsServer,
) -> None:
    async def run() -> None:
        changes = DnsRegistry(f"dns://{server.address}/mesh.test").watch("orders")
        assert len(await soon(changes)) == 2
        server.holds(ORDERS[2:])
        assert await soon(changes) == []

    asyncio.run(run())


def test_a_blocked_question_ends_when_it_is_cancelled(server: DnsServer) -> None:
    async def run() -> None:
        server.hang()
        task = asyncio.ensure_future(anext(DnsRegistry(f"dns://{server.address}/mesh.test").watch("orders")))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 1.0)

    try:
        asyncio.run(run())
    finally:
        server.go_on()


def test_a_name_server_may_be_named_and_several_are_tried(server: DnsServer) -> None:
    named = f"dns://127.0.0.1:1,localhost:{server.port}/mesh.test"

    async def run() -> tuple[Instance, ...]:
        return await asyncio.wait_for(anext(DnsRegistry(named).watch("orders")), DEADLINE)

    assert len(asyncio.run(run())) == 2


def test_a_name_that_dns_cannot_hold_is_an_error_in_words(server: DnsServer) -> None:
    with pytest.raises(SourceError, match="cannot be asked for"):
        asyncio.run(DnsClient([("127.0.0.1", server.port)]).addresses("a" * 64 + ".test"))


def test_consul_speaks_dns_and_shortens_its_answers_over_udp_without_saying_so(tmp_path: Path) -> None:
    """Its tags are names, so versions are; where there are many instances, only TCP tells them all."""
    count = 60
    consul = Consul(tmp_path, in_memory=True)
    consul.start()
    try:
        for number in range(count):
            tag, weight = f"v{number % 2 + 1}", {"Passing": number + 1, "Warning": 1}
            consul.register("orders", 8000 + number, host=f"127.0.0.{number + 1}", Tags=[tag], Weights=weight)
        address = f"127.0.0.1:{consul.dns_port}"

        async def seen(parameters: str) -> tuple[Instance, ...]:
            registry = DnsRegistry(f"dns://{address}/service.consul?{parameters}")
            return await asyncio.wait_for(anext(registry.watch("orders")), DEADLINE)

        found = asyncio.run(seen("name={version}.{service}&versions=v1,v2&transport=tcp"))
        assert {(it.host, it.port, it.version, it.weight) for it in found} == {
            (f"127.0.0.{number + 1}", 8000 + number, f"v{number % 2 + 1}", number + 1) for number in range(count)
        }
        assert 0 < len(asyncio.run(seen("name={service}"))) < count
    finally:
        consul.stop()
