"""Nacos' own traps: pushes, sign of life, log-in, several servers, and what comes instead where nothing is pushed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Self

import pytest
from real_nacos import PASSWORD, USER, Nacos
from registry_backends.nacos import Server, server
from serving import free_port
from waiting import eventually

from graymw.core.instance_metadata import instance_from_metadata
from graymw.core.instances import Instance
from graymw.errors import SourceError
from graymw.registries.nacos import NacosServices
from graymw.registries.nacos_registrar import NacosRegistrar
from graymw.remote.nacos import session as sessions
from graymw.remote.nacos.connection import NacosConnection
from graymw.remote.nacos.credentials import Memory
from graymw.remote.nacos.http_api import NacosHttp
from graymw.remote.nacos.place import nacos_place
from graymw.runtime.ports import Change
from graymw.settings.access import Access
from graymw.sources.nacos import NacosSource
from graymw.sources.nacos_store import NacosStore

HOST = "127.0.0.1"
SECONDS = 10.0
NEVER = 3600.0
FORKING = Path(__file__).parents[1] / "support" / "forking_nacos.py"


@pytest.fixture(params=["2.2", "3.1"])
def running(request: pytest.FixtureRequest) -> Server:
    return server(request.param, login=request.param == "2.2")


@pytest.fixture
def nacos(running: Server) -> Nacos:
    return running.nacos


@pytest.fixture
def access(running: Server) -> Access:
    return Access(user=USER, password=PASSWORD) if running.login else Access()


@pytest.fixture
def group(request: pytest.FixtureRequest) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:100]


@pytest.fixture
def url(nacos: Nacos, group: str) -> str:
    return f"nacos://{nacos.authority}?group={group}"


class Watched:
    """What a watch yields, in a task of its own."""

    def __init__(self, services: NacosServices, service: str = "orders") -> None:
        self.reports: list[tuple[Instance, ...]] = []
        self._services = services
        self._service = service

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(self._follow(self._services.watch(self._service)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._services.close()

    @property
    def ports(self) -> list[int] | None:
        return sorted(one.port for one in self.reports[-1]) if self.reports else None

    async def sees(self, *ports: int) -> None:
        async with asyncio.timeout(SECONDS):
            while self.ports != sorted(ports):
                if self.task.done():
                    self.task.result()
                self._changed.clear()
                await self._changed.wait()

    async def _follow(self, reports: AsyncIterator[tuple[Instance, ...]]) -> None:
        try:
            async for report in reports:
                self.reports.append(report)
                self._changed.set()
        finally:
            self._changed.set()


def instance(port: int, **metadata: str) -> Instance:
    return instance_from_metadata("orders", HOST, port, {"version": "v1", **metadata})


def run(steps: Coroutine[object, object, None]) -> None:
    asyncio.run(steps)


def test_changes_are_pushed(nacos: Nacos, url: str, access: Access, group: str) -> None:
    async def steps() -> None:
        async with Watched(NacosServices(url, access, poll_seconds=NEVER)) as orders:
            await orders.sees()
            nacos.put_instance("orders", HOST, 8001, {}, group=group)
            await orders.sees(8001)
            nacos.remove_instance("orders", HOST, 8001, group=group)
            await orders.sees()

    run(steps())


def test_changes_are_pushed_over_tls_with_a_login(group: str) -> None:
    running = server("3.1", login=True, tls=True)
    assert running.certificates is not None
    access = Access(user=USER, password=PASSWORD, ca=str(running.certificates.ca))

    async def steps() -> None:
        services = NacosServices(f"nacos+https://{running.nacos.authority}?group={group}", access, poll_seconds=NEVER)
        async with Watched(services) as orders:
            await orders.sees()
            running.nacos.put_instance("orders", HOST, 8001, {}, group=group)
            await orders.sees(8001)

    run(steps())


def test_many_services_share_one_connection(nacos: Nacos, url: str, access: Access, group: str) -> None:
    opened: list[NacosConnection] = []
    opening = NacosConnection.open

    async def counted(*args: object, **kwargs: object) -> NacosConnection:
        opened.append(await opening(*args, **kwargs))  # type: ignore[arg-type]
        return opened[-1]

    async def steps() -> None:
        services = NacosServices(url, access, poll_seconds=NEVER)
        async with Watched(services, "a") as a, Watched(services, "b") as b:
            await a.sees()
            await b.sees()
            nacos.put_instance("b", HOST, 8002, {}, group=group)
            await b.sees(8002)
            assert a.ports == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions.NacosConnection, "open", counted)
        run(steps())
    assert len(opened) == 1


def test_instances_that_take_no_calls_are_left_out(nacos: Nacos, url: str, access: Access, group: str) -> None:
    async def steps() -> None:
        async with Watched(NacosServices(url, access, poll_seconds=NEVER)) as orders:
            nacos.put_instance("orders", HOST, 8001, {}, group=group, enabled="false")
            soon = {"preserved.heart.beat.interval": "500", "preserved.heart.beat.timeout": "1000"}
            nacos.put_instance("orders", HOST, 8002, soon, group=group)
            nacos.put_instance("orders", HOST, 8003, {}, group=group)
            await orders.sees(8003)  # nobody keeps 8002 alive

    run(steps())
    assert [one["healthy"] for one in nacos.instances("orders", group=group) if one["port"] == 8002] == [False]


def test_weights_of_nacos_and_its_clusters_count(nacos: Nacos, url: str, access: Access, group: str) -> None:
    async def steps() -> None:
        nacos.put_instance("orders", HOST, 8001, {}, group=group, weight="0.5", clusterName="HZ")
        nacos.put_instance("orders", HOST, 8002, {"weight": "3", "zone": "b"}, group=group, clusterName="HZ")
        nacos.put_instance("orders", HOST, 8003, {"weight": "3"}, group=group, weight="0")
        nacos.put_instance("orders", HOST, 8004, {"dubbo.tag": "gray", "secure": "true"}, group=group)
        async with Watched(NacosServices(url, access, poll_seconds=NEVER)) as orders:
            await orders.sees(8001, 8002, 8003, 8004)
            by_port = {one.port: one for one in orders.reports[-1]}
        assert {port: one.weight for port, one in by_port.items()} == {8001: 50, 8002: 300, 8003: 0, 8004: 100}
        assert {port: one.zone for port, one in by_port.items()} == {8001: "HZ", 8002: "b", 8003: "", 8004: ""}
        assert (by_port[8004].version, by_port[8004].tls, by_port[8001].tls) == ("gray", True, False)
        for polled in ("", "&grpc_port=0"):
            async with Watched(NacosServices(f"{url}&cluster=HZ{polled}", access, poll_seconds=0.2)) as orders:
                await orders.sees(8001, 8002)
        async with Watched(NacosServices(f"{url}&grpc_port=0", access, poll_seconds=0.2)) as orders:
            await orders.sees(8001, 8002, 8003, 8004)

    run(steps())


def test_namespaces_and_groups_are_worlds_of_their_own(nacos: Nacos, url: str, access: Access, group: str) -> None:
    async def steps() -> None:
        nacos.put_instance("orders", HOST, 8001, {}, group=group)
        nacos.put_instance("orders", HOST, 8002, {}, group=group, namespaceId="other")
        async with Watched(NacosServices(f"{url}&namespace=other", access, poll_seconds=NEVER)) as orders:
            await orders.sees(8002)
        async with Watched(NacosServices(f"nacos://{nacos.authority}?group={group}-2", access)) as orders:
            await orders.sees()

    run(steps())


def test_a_server_that_cannot_be_reached_is_passed_over(nacos: Nacos, access: Access, group: str) -> None:
    async def steps() -> None:
        nacos.put_instance("orders", HOST, 8001, {}, group=group)
        several = f"nacos://{HOST}:{free_port()},{nacos.authority}?group={group}"
        async with Watched(NacosServices(several, access, poll_seconds=NEVER)) as orders:
            await orders.sees(8001)
            registrar = NacosRegistrar(several, access)
            await registrar.register(instance(8002))
            await orders.sees(8001, 8002)
            await registrar.close()

    run(steps())


def test_a_server_that_sends_its_clients_elsewhere_loses_none(group: str) -> None:
    nacos = server("3.1").nacos

    async def steps() -> None:
        services = NacosServices(f"nacos://{nacos.authority}?group={group}", Access(), poll_seconds=NEVER)
        async with Watched(services) as orders:
            await orders.sees()
            reply = nacos.call("POST", "/v3/admin/core/loader/reloadCurrent", {"count": "0"})
            assert reply.json["code"] == 0
            nacos.put_instance("orders", HOST, 8001, {}, group=group)
            await orders.sees(8001)
            assert not orders.task.done()

    run(steps())


@pytest.mark.parametrize("broken", ["no library", "port closed", "no http/2"])
def test_where_nothing_is_pushed_it_is_polled(
    broken: str, nacos: Nacos, url: str, access: Access, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "no library":
        monkeypatch.setattr(sessions, "is_installed", lambda: False)
    else:
        url += f"&grpc_port={free_port() if broken == 'port closed' else nacos.port}"

    async def steps() -> None:
        async with Watched(NacosServices(url, access, poll_seconds=0.2)) as orders:
            await orders.sees()
            nacos.put_instance("orders", HOST, 8001, {}, group=group)
            await orders.sees(8001)

    run(steps())


def test_polling_gives_way_to_pushes_as_soon_as_they_come(
    nacos: Nacos, url: str, access: Access, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = False
    monkeypatch.setattr(sessions, "is_installed", lambda: installed)

    async def steps() -> None:
        nonlocal installed
        async with Watched(NacosServices(url, access, poll_seconds=0.2)) as orders:
            await orders.sees()
            installed = True
            session = orders._services._session.get()
            await asyncio.to_thread(eventually, lambda: session._connection is not None, SECONDS)
            nacos.put_instance("orders", HOST, 8001, {}, group=group)
            await orders.sees(8001)

    run(steps())


class TestRegistering:
    def test_what_is_registered_can_be_read_by_everybody(
        self, nacos: Nacos, url: str, access: Access, group: str
    ) -> None:
        async def steps() -> None:
            registrar = NacosRegistrar(f"{url}&cluster=HZ", access)
            await registrar.register(instance(8001, weight="5", zone="b", gray="true", rack="é"))
            await registrar.close()

        run(steps())
        eventually(lambda: nacos.instances("orders", group=group))
        (found,) = nacos.instances("orders", group=group)
        assert (found["ip"], found["port"], found["weight"], found["clusterName"]) == (HOST, 8001, 5.0, "HZ")
        assert found["metadata"] == {"version": "v1", "zone": "b", "gray": "true", "rack": "é"}
        assert (found["ephemeral"], found["healthy"], found["enabled"]) == (True, True, True)

    def test_a_heartbeat_tells_whether_the_server_knows_the_instance(
        self, nacos: Nacos, url: str, access: Access, group: str
    ) -> None:
        async def steps() -> None:
            registrar = NacosRegistrar(url, access)
            assert not await registrar.heartbeat(instance(8001))
            await registrar.register(instance(8001))
            assert await registrar.heartbeat(instance(8001))
            nacos.remove_instance("orders", HOST, 8001, group=group)
            assert not await registrar.heartbeat(instance(8001))
            await registrar.deregister(instance(8001))
            await registrar.close()

        run(steps())

    def test_letting_go_of_connections_leaves_the_instance_there(
        self, nacos: Nacos, url: str, access: Access, group: str
    ) -> None:
        async def steps() -> None:
            registrar = NacosRegistrar(url, access)
            await registrar.register(instance(8001))
            await registrar.close()

        run(steps())
        eventually(lambda: [one["port"] for one in nacos.instances("orders", group=group)] == [8001])

    def test_an_instance_may_hang_on_a_connection(self, nacos: Nacos, url: str, access: Access, group: str) -> None:
        def ports() -> list[int]:
            return [one["port"] for one in nacos.instances("orders", group=group)]

        async def steps() -> None:
            registrar = NacosRegistrar(f"{url}&register=connection", access)
            assert not await registrar.heartbeat(instance(8001))
            await registrar.register(instance(8001))
            assert await registrar.heartbeat(instance(8001))
            await asyncio.to_thread(eventually, lambda: ports() == [8001])
            await registrar.deregister(instance(8001))
            await asyncio.to_thread(eventually, lambda: ports() == [])
            await registrar.register(instance(8002))
            await asyncio.to_thread(eventually, lambda: ports() == [8002])
            await registrar.close()  # as the end of the process does
            await asyncio.to_thread(eventually, lambda: ports() == [])
            assert not await registrar.heartbeat(instance(8002))

        run(steps())


class TestLoggingIn:
    @pytest.fixture(params=["2.2", "3.1"])
    def running(self, request: pytest.FixtureRequest) -> Server:
        return server(request.param, login=True, tls=request.param == "3.1")

    @pytest.fixture
    def scheme(self, running: Server) -> str:
        return "nacos+https" if running.certificates else "nacos"

    @pytest.fixture
    def login(self, running: Server) -> Callable[..., Access]:
        ca = str(running.certificates.ca) if running.certificates else ""
        return lambda **given: Access(**({"user": USER, "password": PASSWORD, "ca": ca} | given))

    def test_a_token_that_is_refused_is_fetched_anew(
        self, nacos: Nacos, scheme: str, login: Callable[..., Access], group: str
    ) -> None:
        async def steps() -> None:
            services = NacosServices(f"{scheme}://{nacos.authority}?group={group}", login(), poll_seconds=NEVER)
            async with Watched(services) as orders:
                await orders.sees()
                session = orders._services._session.get()
                session.http.credentials._memory.token = "outlived"
                connection = await session.connection()
                await connection.request(
                    "SubscribeServiceRequest",
                    {"namespace": "public", "groupName": group, "serviceName": "x", "clusters": "", "subscribe": True},
                )
                session.http.credentials._memory.token = "outlived"
                assert await session.http.instances("orders", "") == []

        run(steps())

    def test_a_user_who_may_not_look_is_told_what_to_set(
        self, nacos: Nacos, scheme: str, login: Callable[..., Access], group: str
    ) -> None:
        user = f"nobody{abs(hash(group))}"
        nacos.add_user(user, "harmless")

        async def steps() -> None:
            services = NacosServices(
                f"{scheme}://{nacos.authority}?group={group}", login(user=user, password="harmless")
            )
            with pytest.raises(SourceError, match="GRAYMW_REGISTRY_USER"):
                await anext(services.watch("orders"))
            await services.close()

        run(steps())

    def test_a_ready_token_serves_as_well(
        self, nacos: Nacos, scheme: str, login: Callable[..., Access], group: str
    ) -> None:
        path = "/v3/auth/user/login" if nacos.line == "3.1" else "/v1/auth/login"
        token = nacos.call("POST", path, {"username": USER, "password": PASSWORD}).json["accessToken"]

        async def steps() -> None:
            nacos.put_instance("orders", HOST, 8001, {}, group=group)
            services = NacosServices(
                f"{scheme}://{nacos.authority}?group={group}",
                login(user="", password="", token=token),
                poll_seconds=NEVER,
            )
            async with Watched(services) as orders:
                await orders.sees(8001)

        run(steps())


def test_a_name_of_credentials_shows_none_of_them(nacos: Nacos) -> None:
    services = NacosServices(f"nacos://ann:s3cret@{nacos.authority}", Access())
    assert "s3cret" not in services.name


class TestRules:
    def test_a_change_is_pushed_with_its_format(self, nacos: Nacos, access: Access, group: str) -> None:
        async def steps() -> None:
            source = NacosSource(f"nacos://{nacos.authority}/rules.json?group={group}", access, poll_seconds=NEVER)
            changes = source.watch()
            assert (await anext(changes)).text is None
            await asyncio.to_thread(nacos.publish, "rules.json", "{}", group=group)
            found = await asyncio.wait_for(anext(changes), SECONDS)
            assert (found.text, found.format, len(found.version)) == ("{}", "json", 32)
            await changes.aclose()

        run(steps())

    def test_namespaces_hold_documents_of_their_own(self, nacos: Nacos, access: Access, group: str) -> None:
        nacos.publish("rules", "public", group=group)
        nacos.publish("rules", "other", group=group, namespace="other")

        async def steps() -> None:
            for namespace in ("public", "other"):
                url = f"nacos://{nacos.authority}/rules?group={group}&namespace={namespace}"
                assert (await NacosSource(url, access).load()).text == namespace
                changes = NacosSource(url, access).watch()
                assert (await anext(changes)).text == namespace
                await changes.aclose()

        run(steps())

    def test_nacos_2_waits_for_a_change_where_it_cannot_push(self, group: str) -> None:
        nacos, access = server("2.2", login=True).nacos, Access(user=USER, password=PASSWORD)

        async def steps() -> None:
            url = f"nacos://{nacos.authority}/rules?group={group}&grpc_port=0"
            changes = NacosSource(url, access, poll_seconds=NEVER).watch()
            await anext(changes)
            await asyncio.to_thread(nacos.publish, "rules", "new", group=group)
            assert (await asyncio.wait_for(anext(changes), SECONDS)).text == "new"
            await changes.aclose()

        run(steps())


class TestWriting:
    def test_nacos_2_on_its_embedded_storage_is_not_written_to(self, group: str) -> None:
        """It takes a write that compares with something else; changes would be lost."""
        nacos, access = server("2.2", login=True).nacos, Access(user=USER, password=PASSWORD)
        nacos.publish("rules.yaml", "theirs", group=group)

        async def steps() -> None:
            store = NacosStore(f"nacos://{nacos.authority}/rules.yaml?group={group}", access)
            with pytest.raises(SourceError, match="does not compare what it replaces"):
                await store.write(Change("ours", "", 1.0, "ann", "set"), expected=(await store.read()).version)
            assert (await store.read()).text == "theirs"
            await store.close()

        run(steps())

    def test_what_others_published_is_in_the_history_as_nacos_knows_it(
        self, nacos: Nacos, access: Access, group: str
    ) -> None:
        for text in ("one", "two"):
            nacos.publish("rules.yaml", text, group=group)
        nacos.unpublish("rules.yaml", group=group)

        async def steps() -> None:
            store = NacosStore(f"nacos://{nacos.authority}/rules.yaml?group={group}", access)
            history = await store.history(10)
            assert [each.text for each in history] == ["two", "one"]
            assert history[0].at >= history[1].at > 1_700_000_000
            assert {each.who for each in history} <= {"", USER}
            await store.close()

        run(steps())

    def test_without_pushes_nothing_is_written(self, group: str) -> None:
        nacos = server("3.1").nacos

        async def steps() -> None:
            store = NacosStore(f"nacos://{nacos.authority}/rules.yaml?group={group}&grpc_port=0", Access())
            with pytest.raises(SourceError, match="grpc_port=0"):
                await store.write(Change("ours", "", 1.0, "ann", "set"), expected="")
            await store.close()

        run(steps())


def test_processes_forked_again_and_again_look_up_for_themselves(
    nacos: Nacos, url: str, access: Access, group: str
) -> None:
    """What stands behind speaking HTTP/2 ourselves: connections made with grpcio hung after a few forks."""
    nacos.put_instance("orders", HOST, 8001, {}, group=group)
    command = [sys.executable, str(FORKING), url, json.dumps({"user": access.user, "password": access.password})]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.split() == ["8001"] * 9


def test_an_address_where_something_else_listens_is_told(nacos: Nacos, access: Access) -> None:
    async def steps() -> None:
        place = nacos_place(f"nacos://{HOST}:{nacos.grpc_port}", setting="GRAYMW_REGISTRY", example="")
        http = NacosHttp(place, Access(), Memory())
        with pytest.raises(SourceError, match="nacos"):
            await http.instances("orders", "")
        await http.close()

    run(steps())
