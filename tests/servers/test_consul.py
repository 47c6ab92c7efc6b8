"""What is Consul's own, against real servers of two release lines; laws of all backends are in ``tests/contract``."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import real_consul
from real_consul import Consul

from graymw.core.instances import Instance
from graymw.errors import ConflictError, SourceError
from graymw.registries.consul import ConsulServices
from graymw.registries.consul_registrar import ConsulRegistrar
from graymw.runtime.ports import Change, Fetched
from graymw.settings.access import Access
from graymw.sources.consul import ConsulSource
from graymw.sources.consul_store import ConsulStore

HOST = "127.0.0.1"
DEADLINE = 20.0
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=real_consul.VERSIONS)
def consul(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    with real_consul.running(tmp_path_factory.mktemp("consul"), line=request.param, in_memory=True) as running:
        yield running


@pytest.fixture(scope="module", params=real_consul.VERSIONS)
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """One that wants a token for everything."""
    folder = tmp_path_factory.mktemp("guarded")
    with real_consul.running(folder, line=request.param, access_control=True) as running:
        yield running


@pytest.fixture
def service() -> str:
    """A service that no other test knows."""
    return f"orders-{next(_numbers)}"


def services(consul: Consul, query: str = "", token: str = "", **options: Any) -> ConsulServices:
    return ConsulServices(f"consul://{consul.authority}{query}", Access(token=token), **options)


def registrar(consul: Consul, query: str = "", token: str = "", **options: Any) -> ConsulRegistrar:
    return ConsulRegistrar(f"consul://{consul.authority}{query}", Access(token=token), **options)


class Reports:
    """What a watch yields, read as it comes; with a deadline on each wait."""

    def __init__(self, reports: AsyncGenerator[Any]) -> None:
        self._reports = reports
        self._read: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def next(self) -> Any:
        found = await asyncio.wait_for(self._read.get(), DEADLINE)
        if isinstance(found, Exception):
            raise found
        return found

    async def trouble(self) -> None:
        """Raise the next error, whatever is yielded before."""
        while True:
            await self.next()

    async def _follow(self) -> None:
        try:
            async with aclosing(self._reports) as reports:
                async for report in reports:
                    self._read.put_nowait(report)
        except Exception as error:
            self._read.put_nowait(error)


def watching(source: ConsulServices, service: str, law: Callable[[Reports], Awaitable[None]]) -> None:
    """Hold a law of a watch."""

    async def run() -> None:
        try:
            async with Reports(source.watch(service)) as reports:
                await law(reports)
        finally:
            await source.close()

    asyncio.run(run())


def first(source: ConsulServices, service: str) -> tuple[Instance, ...]:
    """What a watch yields at first."""
    found: list[tuple[Instance, ...]] = []

    async def law(reports: Reports) -> None:
        found.append(await reports.next())

    watching(source, service, law)
    return found[0]


@asynccontextmanager
async def closing(held: ConsulRegistrar) -> AsyncIterator[ConsulRegistrar]:
    try:
        yield held
    finally:
        await held.close()


async def stand(held: ConsulRegistrar, instance: Instance) -> None:
    async with closing(held):
        await held.register(instance)


def ports(instances: tuple[Instance, ...]) -> list[int]:
    return [instance.port for instance in instances]


def test_what_happens_to_another_service_wakes_nobody(consul: Consul, service: str) -> None:
    async def law(reports: Reports) -> None:
        assert ports(await reports.next()) == [8001]
        consul.register(f"{service}-other", 8002)
        consul.register(service, 8001, Meta={"version": "v2"})
        assert (await reports.next())[0].version == "v2"

    consul.register(service, 8001)
    watching(services(consul), service, law)


def test_a_registration_that_changes_nothing_wakes_nobody(consul: Consul, service: str) -> None:
    async def law(reports: Reports) -> None:
        await reports.next()
        consul.register(service, 8001, Meta={"version": "v1"})
        consul.register(service, 8001, Meta={"version": "v2"})
        assert (await reports.next())[0].version == "v2"

    consul.register(service, 8001, Meta={"version": "v1"})
    watching(services(consul), service, law)


@pytest.mark.parametrize("state", ["warn", "fail"])
def test_only_what_passes_its_checks_is_healthy(consul: Consul, service: str, state: str) -> None:
    async def law(reports: Reports) -> None:
        assert ports(await reports.next()) == [8001, 8002]
        consul.call("PUT", f"/v1/agent/check/{state}/service:{service}-8001")
        assert ports(await reports.next()) == [8002]
        consul.call("PUT", f"/v1/agent/check/pass/service:{service}-8001")
        assert ports(await reports.next()) == [8001, 8002]

    consul.register(service, 8001, Check={"TTL": "10m", "Status": "passing"})
    consul.register(service, 8002)
    watching(services(consul), service, law)


def test_an_instance_under_maintenance_takes_no_traffic(consul: Consul, service: str) -> None:
    async def law(reports: Reports) -> None:
        assert ports(await reports.next()) == [8001, 8002]
        consul.call("PUT", f"/v1/agent/service/maintenance/{service}-8001", enable="true")
        assert ports(await reports.next()) == [8002]

    consul.register(service, 8001)
    consul.register(service, 8002)
    watching(services(consul), service, law)


def test_registrations_of_other_programs_are_read(consul: Consul, service: str) -> None:
    consul.register(service, 8001, host="", Tags=["version=v2", "zone=a", "secure=true"])
    consul.register(service, 8002, Meta={"version": "v1"}, Weights={"Passing": 5, "Warning": 1})
    tagged, weighted = first(services(consul), service)
    assert (tagged.host, tagged.version, tagged.zone, tagged.tls) == (HOST, "v2", "a", True)
    assert (weighted.host, weighted.version, weighted.weight) == (HOST, "v1", 5)


def test_a_name_is_found_in_any_case_and_with_any_characters(consul: Consul, service: str) -> None:
    name = f"Team/{service}@x"
    consul.register(name, 8001, ID="slashed")
    assert ports(first(services(consul), name.lower())) == [8001]


def test_with_a_tag_only_instances_that_carry_it_count(consul: Consul, service: str) -> None:
    consul.register(service, 8001, Tags=["team-a"])
    consul.register(service, 8002, Tags=["team-b"])
    assert ports(first(services(consul, "?tag=team-b"), service)) == [8002]


def test_the_names_of_services_are_told_as_they_come_and_go(consul: Consul, service: str) -> None:
    async def law(source: ConsulServices) -> None:
        async with Reports(source.watch_names()) as reports:
            before = await reports.next()
            assert service not in before
            assert "consul" not in before, "its own servers are nobody's to call"
            consul.register(service, 8001, Tags=["team-a"])
            assert service in await reports.next()
            consul.deregister(f"{service}-8001")
            assert service not in await reports.next()

    asyncio.run(law(services(consul)))


def test_with_a_tag_only_names_of_services_that_carry_it_are_told(consul: Consul, service: str) -> None:
    async def law(source: ConsulServices) -> None:
        async with Reports(source.watch_names()) as reports:
            assert await reports.next() == frozenset()
            consul.register(f"{service}-b", 8001, Tags=["other"])
            consul.register(f"{service}-a", 8001, Tags=[service])
            assert await reports.next() == {f"{service}-a"}

    asyncio.run(law(services(consul, f"?tag={service}")))


@pytest.mark.parametrize(
    ("query", "told"),
    [("?datacenter=atlantis", "No path to datacenter"), ("?namespace=team", "Namespaces are a Consul Enterprise")],
)
def test_what_the_server_does_not_have_is_told_in_its_words(consul: Consul, query: str, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        first(services(consul, query), "orders")


def test_many_services_do_not_take_all_connections_that_an_agent_allows(tmp_path: Path) -> None:
    """By default 200 of one address: processes of one machine share them, and what is beyond is cut off."""
    limits = {"http_max_conns_per_client": 14}
    names = [f"orders-{number}" for number in range(40)]

    async def law(source: ConsulServices, consul: Consul) -> None:
        async with AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(Reports(source.watch(name))) for name in names]
            assert [ports(await reports.next()) for reports in watches] == [[8001]] * 40
            await asyncio.to_thread(lambda: [consul.register(name, 8002) for name in names])
            assert [ports(await reports.next()) for reports in watches] == [[8001, 8002]] * 40
        await source.close()

    with real_consul.running(tmp_path, in_memory=True, limits=limits) as consul:
        for name in names:
            consul.register(name, 8001)
        asyncio.run(law(services(consul, max_blocking=8, poll_seconds=0.2), consul))


def test_a_service_that_is_only_looked_at_tells_what_is_new_and_nothing_twice(consul: Consul, service: str) -> None:
    async def law(reports: Reports) -> None:
        for version in ("v1", "v2", "v3"):
            consul.register(service, 8001, Meta={"version": version})
            assert (await reports.next())[0].version == version
            await asyncio.sleep(0.05)  # some looks more, which see the same

    watching(services(consul, max_blocking=0, poll_seconds=0.01), service, law)


def test_beyond_what_an_agent_allows_watches_fail_and_say_so(tmp_path: Path) -> None:
    async def law(source: ConsulServices) -> None:
        async with AsyncExitStack() as stack:
            watches = [
                await stack.enter_async_context(Reports(source.watch(f"orders-{number}"))) for number in range(12)
            ]
            troubles = [asyncio.ensure_future(reports.trouble()) for reports in watches]
            done, waiting = await asyncio.wait(troubles, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
            for trouble in waiting:
                trouble.cancel()
            await asyncio.wait(troubles)
            assert all(str(trouble.exception()).startswith("consul at http://127.0.0.1") for trouble in done)
        await source.close()

    limits = {"http_max_conns_per_client": 5}
    with real_consul.running(tmp_path, in_memory=True, limits=limits) as consul:
        asyncio.run(law(services(consul)))


def test_what_is_registered_is_what_other_programs_expect(consul: Consul, service: str) -> None:
    instance = Instance(service, HOST, 8001, "v2", 3, "a", tls=True, metadata={"rack": "r7"})
    asyncio.run(stand(registrar(consul, "?tag=team-a"), instance))
    (entry,) = consul.passing(service)
    told = entry["Service"]
    assert (told["Address"], told["Port"], sorted(told["Tags"])) == (HOST, 8001, ["team-a", "v2"])
    assert told["Meta"] == {"version": "v2", "weight": "3", "zone": "a", "rack": "r7"} | dict.fromkeys(
        ("tls", "secure"), "true"
    )
    assert told["Weights"]["Passing"] == 3
    assert first(services(consul, "?tag=team-a"), service) == (instance,)


@pytest.mark.parametrize(
    "instance",
    [
        Instance("zero", HOST, 8001, "v2", 0),
        Instance("heavy", HOST, 8001, "v2", 10_000),
        Instance("six", "::1", 8001, "1.10"),
        Instance("team/slashed", HOST, 8001, ""),
    ],
    ids=lambda instance: instance.service,
)
def test_it_stands_as_it_is_kept_alive_and_taken_out(consul: Consul, instance: Instance) -> None:
    before = consul.services()

    async def law(reports: Reports) -> None:
        assert await reports.next() == ()
        async with closing(registrar(consul)) as held:
            await held.register(instance)
            await held.register(instance)
            assert await held.heartbeat(instance)
            assert await reports.next() == (instance,)
            await held.deregister(instance)
            await held.deregister(instance)
            assert not await held.heartbeat(instance)
            assert await reports.next() == ()

    watching(services(consul), instance.service, law)
    assert consul.services() == before


def test_without_heartbeats_it_lapses_and_the_next_one_brings_it_back(consul: Consul, service: str) -> None:
    instance = Instance(service, HOST, 8001, "v2")

    async def law(reports: Reports) -> None:
        assert ports(await reports.next()) == []
        async with closing(registrar(consul, ttl=1.0)) as held:
            await held.register(instance)
            assert ports(await reports.next()) == [8001]
            assert ports(await reports.next()) == []
            assert await held.heartbeat(instance)
            assert ports(await reports.next()) == [8001]
            await held.deregister(instance)

    watching(services(consul), service, law)


def test_heartbeats_wake_nobody(consul: Consul, service: str) -> None:
    instance = Instance(service, HOST, 8001, "v2")

    async def run() -> None:
        async with closing(registrar(consul)) as held:
            await held.register(instance)
            before = consul.call("GET", f"/v1/health/service/{service}").index
            for _ in range(5):
                assert await held.heartbeat(instance)
            assert consul.call("GET", f"/v1/health/service/{service}").index == before

    asyncio.run(run())


def test_metadata_that_consul_refuses_does_not_keep_an_instance_out(
    consul: Consul, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = {"a.b": "1", "consul-x": "1", "long": "x" * 513, "fine": "yes"} | {f"k{n}": "x" for n in range(70)}
    instance = Instance(service, HOST, 8001, "v2", metadata=metadata)
    asyncio.run(stand(registrar(consul), instance))
    (found,) = first(services(consul), service)
    assert found.version == "v2"
    assert found.metadata.items() < metadata.items()
    assert "takes no such metadata, registered without it: a.b, consul-x" in caplog.text


def test_a_server_that_forgot_everything_asks_for_a_new_registration(tmp_path: Path) -> None:
    instance = Instance("orders", HOST, 8001, "v2")

    async def is_known(held: ConsulRegistrar) -> bool:
        """The connection from before the restart may have to be found broken first."""
        try:
            return await held.heartbeat(instance)
        except SourceError:
            return await held.heartbeat(instance)

    async def run(consul: Consul) -> None:
        async with closing(registrar(consul)) as held:
            await held.register(instance)
            assert await held.heartbeat(instance)
            await asyncio.to_thread(consul.restart)
            assert not await is_known(held)
            await held.register(instance)
            assert await held.heartbeat(instance)

    with real_consul.running(tmp_path, in_memory=True) as consul:
        asyncio.run(run(consul))
        assert len(consul.passing("orders")) == 1


def test_a_token_that_may_not_see_a_service_is_told_rather_than_believed(guarded: Consul, service: str) -> None:
    """Consul answers an empty list."""
    guarded.register(service, 8001)
    for token in ("", guarded.new_token('service "others" { policy = "read" } node_prefix "" { policy = "read" }')):
        with pytest.raises(SourceError, match=f"may not read the service {service} and its nodes") as caught:
            first(services(guarded, token=token), service)
        assert not token or token not in str(caught.value)


def test_what_a_token_needs(guarded: Consul, service: str) -> None:
    """As the documentation says."""
    rules = f'service "{service}" {{ policy = "write" }} node_prefix "" {{ policy = "read" }}'
    token = guarded.new_token(rules)
    instance = Instance(service, HOST, 8001, "v2")

    async def run() -> None:
        async with closing(registrar(guarded, token=token)) as held:
            await held.register(instance)
            assert await held.heartbeat(instance)
            await held.deregister(instance)
            await held.register(instance)

    asyncio.run(run())
    assert ports(first(services(guarded, token=token), service)) == [8001]


def test_a_token_that_may_not_register_is_told(guarded: Consul, service: str) -> None:
    token = guarded.new_token(f'service "{service}" {{ policy = "read" }}')
    with pytest.raises(SourceError, match=r"refuses the token: .*; set GRAYMW_REGISTRY_TOKEN to a token that may"):
        asyncio.run(stand(registrar(guarded, token=token), Instance(service, HOST, 8001, "v2")))


def test_a_token_that_is_taken_back_ends_a_watch(guarded: Consul, service: str) -> None:
    token = guarded.new_token('service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }')
    accessor = guarded.call("GET", "/v1/acl/token/self", token=token).json["AccessorID"]

    async def stir() -> None:
        """Consul looks at the token when a query comes, not while it waits; and it remembers tokens for a moment."""
        for port in itertools.count(8002):
            await asyncio.to_thread(guarded.register, service, port)
            await asyncio.sleep(0.1)

    async def law(reports: Reports) -> None:
        assert ports(await reports.next()) == [8001]
        guarded.call("DELETE", f"/v1/acl/token/{accessor}")
        stirring = asyncio.create_task(stir())
        try:
            with pytest.raises(SourceError, match="refuses the token"):
                await reports.trouble()
        finally:
            stirring.cancel()
            await asyncio.wait([stirring])

    guarded.register(service, 8001)
    watching(services(guarded, token=token), service, law)


def rules(consul: Consul, key: str, token: str = "") -> ConsulSource:
    return ConsulSource(f"consul://{consul.authority}/{key}", Access(token=token))


def rules_watched(source: ConsulSource, law: Callable[[Reports], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Reports(source.watch()) as reports:
            await law(reports)

    asyncio.run(run())


def test_the_same_document_written_again_is_no_change(consul: Consul, service: str) -> None:
    async def law(reports: Reports) -> None:
        assert (await reports.next()).text == b"a"
        consul.put(service, "a")
        consul.put(service, "b")
        assert (await reports.next()).text == b"b"

    consul.put(service, "a")
    rules_watched(rules(consul, service), law)


def test_keys_that_come_and_go_beside_it_are_no_change(consul: Consul, service: str) -> None:
    async def law(reports: Reports) -> None:
        assert (await reports.next()).text is None
        for number in range(3):
            consul.put(f"{service}/beside", str(number))
        consul.remove(f"{service}/beside")
        consul.put(service, "a")
        assert (await reports.next()).text == b"a"

    rules_watched(rules(consul, service), law)


def test_an_empty_key_is_an_empty_document_and_no_missing_one(consul: Consul, service: str) -> None:
    consul.put(service, "")
    assert asyncio.run(rules(consul, service).load()).text == b""


@pytest.mark.parametrize(
    ("key", "written", "format_"),
    [("graymw/rules.yaml", "graymw/rules.yaml", "yaml"), ("a/b.json", "a/b.json", "json"), ("plain", "plain", None),
     ("with space/ü.toml", "with%20space/%C3%BC.toml", "toml")],
)  # fmt: skip
def test_a_key_is_read_under_its_name_whose_ending_tells_the_format(
    consul: Consul, key: str, written: str, format_: str | None
) -> None:
    consul.put(key, "a: 1")
    fetched: Fetched = asyncio.run(rules(consul, written).load())
    assert (fetched.text, fetched.format) == (b"a: 1", format_)


def test_the_largest_document_that_consul_holds_is_read_whole(consul: Consul, service: str) -> None:
    document = b"x" * 512 * 1024
    consul.put(service, document)
    assert asyncio.run(rules(consul, service).load()).text == document


def test_a_token_that_may_not_read_the_rules_is_told(guarded: Consul, service: str) -> None:
    guarded.put(service, "a: 1")
    token = guarded.new_token(f'key "{service}-other" {{ policy = "read" }}')
    with pytest.raises(SourceError, match=r"refuses the token: .*; set GRAYMW_RULES_TOKEN to a token that may"):
        asyncio.run(rules(guarded, service, token).load())
    allowed = guarded.new_token(f'key "{service}" {{ policy = "read" }}')
    assert asyncio.run(rules(guarded, service, allowed).load()).text == b"a: 1"


def test_a_restart_is_told_and_the_next_watch_finds_all_that_was_written(tmp_path: Path) -> None:
    """Right after its start a server knows only a part of what it wrote down: it is asked for all of it."""

    async def run(consul: Consul) -> None:
        source = rules(consul, "rules.yaml")
        async with Reports(source.watch()) as reports:
            assert (await reports.next()).text == b"a"
            waiting = asyncio.ensure_future(reports.next())
            await asyncio.to_thread(consul.restart)
            with pytest.raises(SourceError, match="consul at"):
                await waiting
        async with Reports(source.watch()) as reports:
            assert (await reports.next()).text == b"a"

    with real_consul.running(tmp_path) as consul:
        consul.put("rules.yaml", "a")
        asyncio.run(run(consul))


def change(text: str, what: str = "publish") -> Change:
    return Change(text, "0badcafe", 1_700_000_000.5, "ann", what, "why")


def stored(consul: Consul, key: str, law: Callable[[ConsulStore], Awaitable[None]], token: str = "") -> None:
    async def run() -> None:
        store = ConsulStore(f"consul://{consul.authority}/{key}", Access(token=token))
        try:
            await law(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_the_same_document_written_twice_has_both_stories(consul: Consul, service: str) -> None:
    """Consul keeps its index where nothing changes."""

    async def law(store: ConsulStore) -> None:
        for what in ("first", "second", "third"):
            await store.write(change("same", what), expected=(await store.read()).version)
        assert [each.what for each in await store.history(10)] == ["third", "second", "first"]

    stored(consul, service, law)


def test_a_long_document_and_its_story_fit_into_one_write(consul: Consul, service: str) -> None:
    document = "".join(f"# line {number} of many\n" for number in range(15_000))
    assert len(document) > 300_000

    async def law(store: ConsulStore) -> None:
        await store.write(change(document), expected="")
        assert (await store.read()).text == document.encode()
        assert await store.history(10) == [change(document)]

    stored(consul, service, law)


def test_a_document_that_is_too_long_is_refused_whole(consul: Consul, service: str) -> None:
    """Consul stops reading and hangs up, so that its own words are heard only sometimes."""

    async def law(store: ConsulStore) -> None:
        for length in (400_000, 4_000_000):
            with pytest.raises(SourceError, match="in one write; shorten the document, or raise"):
                await store.write(change("x" * length), expected="")
        assert (await store.read()).text is None
        assert await store.history(10) == []

    stored(consul, service, law)


def test_keys_of_another_hand_in_the_history_are_passed_over(consul: Consul, service: str) -> None:
    async def law(store: ConsulStore) -> None:
        await store.write(change("a"), expected="")
        for key, value in (("notes", "mine"), ("000000000007", "mine"), ("000000000008", '{"text": 1, "mine": 2}')):
            consul.put(f"{service}.history/{key}", value)
        await store.write(change("b", "next"), expected=(await store.read()).version)
        assert [each.what for each in await store.history(10)] == ["next", "publish"]

    stored(consul, service, law)


def test_a_token_that_may_write_the_document_but_not_its_history_writes_neither(guarded: Consul, service: str) -> None:
    token = guarded.new_token(f'key "{service}" {{ policy = "write" }}')

    async def law(store: ConsulStore) -> None:
        with pytest.raises(SourceError, match="refuses the token: Permission denied") as caught:
            await store.write(change("a"), expected="")
        assert not isinstance(caught.value, ConflictError)
        assert (await store.read()).text is None

    stored(guarded, service, law, token)


def test_what_a_token_needs_to_write(guarded: Consul, service: str) -> None:
    """As the documentation says."""
    token = guarded.new_token(f'key_prefix "{service}" {{ policy = "write" }}')

    async def law(store: ConsulStore) -> None:
        await store.write(change("a"), expected="")
        assert await store.history(10) == [change("a")]

    stored(guarded, service, law, token)
