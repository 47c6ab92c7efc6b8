from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
from waiting import eventually

from graymw.core.instances import Instance
from graymw.errors import SourceError
from graymw.runtime import counters
from graymw.runtime.instance_keeper import MAX_ASKED, SMALL_CATALOGUE, InstanceKeeper
from graymw.runtime.watching import WatchThread

Report = tuple[Instance, ...] | Exception | None


def instance(port: int, version: str = "v1") -> Instance:
    return Instance("orders", "127.0.0.1", port, version)


class Script:
    """A registry that is watched service by service and says what a test tells it; an exception breaks the watch."""

    name = "script"

    def __init__(self) -> None:
        self.watched: list[str] = []
        self.closed = 0
        self._reports: dict[str, asyncio.Queue[Report]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def watch(self, service: str) -> AsyncIterator[tuple[Instance, ...]]:
        self._loop = asyncio.get_running_loop()
        self._reports.setdefault(service, asyncio.Queue())
        self.watched.append(service)
        while True:
            report = await self._reports[service].get()
            if isinstance(report, Exception):
                raise report
            if report is None:
                return
            yield report

    async def close(self) -> None:
        self.closed += 1

    def says(self, service: str, report: Report) -> None:
        eventually(lambda: self._loop is not None and service in self._reports)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._reports[service].put_nowait, report)


class Listing(Script):
    """The same where the services can be listed."""

    listed: frozenset[str] = frozenset({"billing.eu"})

    async def watch_names(self) -> AsyncIterator[frozenset[str]]:
        yield self.listed
        await asyncio.Event().wait()


class Whole:
    """A registry that is watched as a whole."""

    name = "whole"

    def __init__(self) -> None:
        self.reports: asyncio.Queue[Mapping[str, tuple[Instance, ...]]] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    async def watch_all(self) -> AsyncIterator[Mapping[str, tuple[Instance, ...]]]:
        self.reports, self.loop = asyncio.Queue(), asyncio.get_running_loop()
        while True:
            yield await self.reports.get()

    async def close(self) -> None: ...

    def says(self, report: Mapping[str, tuple[Instance, ...]]) -> None:
        eventually(lambda: self.loop is not None)
        assert self.loop is not None
        assert self.reports is not None
        self.loop.call_soon_threadsafe(self.reports.put_nowait, report)


@pytest.fixture
def thread() -> Iterator[WatchThread]:
    thread = WatchThread()
    yield thread
    thread.stop()


def ports(keeper: InstanceKeeper, service: str = "orders") -> list[int] | None:
    found = keeper.instances(service)
    return None if found is None else [one.port for one in found]


def started(source: Script | Whole, thread: WatchThread, **how: object) -> InstanceKeeper:
    keeper = InstanceKeeper(source, thread=thread, **how)  # type: ignore[arg-type]
    keeper.want(["Orders"])
    keeper.start()
    return keeper


def test_a_service_that_rules_name_is_looked_up_whatever_its_letter_case(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread)
    assert ports(keeper) is None
    source.says("orders", (instance(2), instance(1)))
    eventually(lambda: ports(keeper) == [1, 2])


def test_a_service_without_instances_that_nobody_declared_is_not_known(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread, services=["payments"])
    source.says("orders", ())
    source.says("payments", ())
    eventually(lambda: ports(keeper, "payments") == [])
    assert ports(keeper) is None


def test_the_same_report_leaves_the_same_tuple(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread)
    source.says("orders", (instance(1), instance(2)))
    eventually(lambda: ports(keeper) == [1, 2])
    before = keeper.instances("orders")
    source.says("orders", (instance(2), instance(1)))
    source.says("orders", (instance(2), instance(1), instance(3)))
    eventually(lambda: ports(keeper) == [1, 2, 3])
    assert counters.snapshot()["registry.changed"] == 2
    assert before != keeper.instances("orders")


def test_one_that_leaves_is_gone_at_once_when_most_stay(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread, hold_seconds=0.05)
    source.says("orders", tuple(instance(port) for port in (1, 2, 3)))
    eventually(lambda: ports(keeper) == [1, 2, 3])
    source.says("orders", (instance(1), instance(3)))
    eventually(lambda: ports(keeper) == [1, 3])


@pytest.mark.parametrize("left", [(), (1,)])
def test_most_of_a_service_that_vanishes_at_once_is_held_for_a_while(
    thread: WatchThread, left: tuple[int, ...]
) -> None:
    now = [100.0]
    source = Script()
    keeper = started(source, thread, hold_seconds=10.0, clock=lambda: now[0])
    source.says("orders", tuple(instance(port) for port in (1, 2, 3)))
    eventually(lambda: ports(keeper) == [1, 2, 3])
    now[0] += 20
    source.says("orders", tuple(instance(port) for port in left))
    source.says("orders", tuple(instance(port) for port in (*left, 4)))
    eventually(lambda: ports(keeper) == [1, 2, 3, 4])
    now[0] += 11
    source.says("orders", tuple(instance(port) for port in (*left, 4)))
    eventually(lambda: ports(keeper) == [*left, 4])


def test_what_is_held_ends_by_itself(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread, hold_seconds=0.05)
    source.says("orders", (instance(1),))
    eventually(lambda: ports(keeper) == [1])
    source.says("orders", ())
    eventually(lambda: ports(keeper) == [])


def test_one_that_comes_back_while_it_is_held_is_what_it_now_says_it_is(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread, hold_seconds=60.0)
    source.says("orders", (instance(1, "v1"),))
    source.says("orders", ())
    source.says("orders", (instance(1, "v2"),))
    eventually(lambda: [one.version for one in keeper.instances("orders") or ()] == ["v2"])


def test_after_a_reconnection_what_is_missing_is_held(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread, hold_seconds=60.0)
    source.says("orders", tuple(instance(port) for port in (1, 2, 3)))
    source.says("orders", SourceError("gone"))
    source.says("orders", (instance(1), instance(2), instance(4)))
    eventually(lambda: ports(keeper) == [1, 2, 3, 4])
    assert source.watched == ["orders", "orders"]


def test_trouble_is_told_once_and_what_is_known_stays(thread: WatchThread, caplog: pytest.LogCaptureFixture) -> None:
    source = Script()
    keeper = started(source, thread)
    source.says("orders", (instance(1),))
    with caplog.at_level(logging.WARNING):
        source.says("orders", SourceError("gone; start it"))
        source.says("orders", SourceError("gone; start it"))
        eventually(lambda: counters.snapshot().get("registry.error") == 2)
    assert ports(keeper) == [1]
    assert keeper.last_error == "gone; start it"
    assert [record.message for record in caplog.records] == ["gone; start it; the last known instances stay"]
    source.says("orders", (instance(1),))
    eventually(lambda: not keeper.last_error)


def test_a_host_that_a_call_went_to_is_looked_up_from_then_on(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread)
    for host in ("billing", "api.example.com", "10.0.0.1", "localhost", "::1"):
        assert keeper.instances(host) is None
    eventually(lambda: sorted(source.watched) == ["billing", "orders"])
    source.says("billing", (instance(1),))
    eventually(lambda: ports(keeper, "billing") == [1])


def test_a_short_list_of_services_is_looked_up_whole(thread: WatchThread) -> None:
    source = Listing()
    started(source, thread)
    eventually(lambda: sorted(source.watched) == ["billing.eu", "orders"])


def test_where_services_can_be_listed_a_host_is_looked_up_only_if_it_is_one(thread: WatchThread) -> None:
    source = Listing()
    source.listed = frozenset({"billing.eu", *(f"service-{number}" for number in range(SMALL_CATALOGUE))})
    keeper = started(source, thread)
    eventually(lambda: keeper._listed is not None)
    for host in ("billing.eu", "stranger"):
        keeper.instances(host)
    eventually(lambda: sorted(source.watched) == ["billing.eu", "orders"])


def test_only_so_many_hosts_are_looked_up(thread: WatchThread) -> None:
    keeper = InstanceKeeper(Script(), thread=thread)
    for number in range(MAX_ASKED + 50):
        keeper.instances(f"host-{number}")
    assert len(keeper._asked) == MAX_ASKED


def test_a_service_that_rules_no_longer_name_is_looked_up_no_more(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread)
    source.says("orders", (instance(1),))
    eventually(lambda: ports(keeper) == [1])
    keeper.want(["payments"])
    eventually(lambda: source.watched == ["orders", "payments"])


def test_a_registry_that_is_watched_as_a_whole(thread: WatchThread) -> None:
    source = Whole()
    keeper = started(source, thread)
    source.says({"orders": tuple(instance(port) for port in (1, 2, 3)), "Payments": (instance(9),)})
    eventually(lambda: ports(keeper) == [1, 2, 3])
    assert ports(keeper, "payments") == [9]
    source.says({"orders": (instance(1), instance(2)), "Payments": (instance(9),)})
    eventually(lambda: len(ports(keeper) or ()) == 3)  # right after the connection: held
    source.says({"orders": (instance(1), instance(2), instance(4)), "Payments": (instance(9),)})
    eventually(lambda: ports(keeper) == [1, 2, 3, 4])


def test_a_registry_may_tell_ports_apart(thread: WatchThread) -> None:
    source = Whole()
    keeper = started(source, thread)
    assert keeper.at_port("orders", 80) == "orders"
    source.says({"orders:80": (instance(1),), "orders:9090": (instance(2),), "search": (instance(3),)})
    eventually(lambda: keeper.at_port("orders", 80) == "orders:80")
    assert keeper.at_port("orders", 9090) == "orders:9090"
    assert keeper.at_port("orders", 7) == "orders"
    assert keeper.instances("orders") is None  # so calls to its other ports go as addressed
    assert keeper.at_port("search", 80) == "search"


def test_it_is_ready_once_all_that_is_wanted_was_told_of_be_it_nothing(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread, services=["payments"])
    assert not keeper.ready
    source.says("orders", ())
    eventually(lambda: "orders" in keeper._told)
    assert not keeper.ready
    source.says("payments", (instance(1),))
    eventually(lambda: keeper.ready)


def test_a_registry_that_is_watched_as_a_whole_is_ready_with_its_first_report(thread: WatchThread) -> None:
    source = Whole()
    keeper = started(source, thread)
    source.says({})
    eventually(lambda: keeper.ready)


class Failing:
    """A registry that is out of reach; notes when it was asked."""

    name = "failing"

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def watch(self, _service: str) -> AsyncIterator[tuple[Instance, ...]]:
        self.asked.append(time.monotonic())
        raise SourceError("gone")
        yield ()

    async def close(self) -> None: ...


def test_a_crowd_comes_back_at_moments_of_their_own_and_ever_more_seldom(thread: WatchThread) -> None:
    crowd = [Failing() for _ in range(40)]
    for source in crowd:
        started(source, thread)  # type: ignore[arg-type]
    eventually(lambda: all(len(source.asked) >= 4 for source in crowd), 20)
    waits = sorted(source.asked[3] - source.asked[2] for source in crowd)
    assert waits[-1] - waits[0] > 0.05, "they would come back all at once"
    assert sum(waits) > 1.5 * sum(source.asked[1] - source.asked[0] for source in crowd)


def test_connections_are_let_go_when_it_stops(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread)
    source.says("orders", (instance(1),))
    eventually(lambda: ports(keeper) == [1])
    keeper.stop()
    eventually(lambda: source.closed == 1)
    assert ports(keeper) == [1]


def test_however_many_reports_come_while_something_is_held_it_is_let_go_once(thread: WatchThread) -> None:
    looks: list[str] = []

    class Counting(InstanceKeeper):
        def _let_go(self, service: str) -> None:
            looks.append(service)
            super()._let_go(service)

    source = Script()
    keeper = Counting(source, thread=thread, hold_seconds=0.3)
    keeper.want(["orders"])
    keeper.start()
    source.says("orders", (instance(1), instance(2)))
    for turn in range(200):
        source.says("orders", (instance(3 + turn % 2),))
    eventually(lambda: ports(keeper) == [4])
    assert len(looks) <= 20


def test_a_service_that_rules_name_no_more_stays_up_to_date_as_long_as_it_is_known(thread: WatchThread) -> None:
    source = Script()
    keeper = started(source, thread)
    source.says("orders", (instance(1), instance(2), instance(3)))
    eventually(lambda: "orders" in keeper.services)  # before any call has asked for it
    keeper.want(["payments"])
    eventually(lambda: "payments" in source.watched)
    source.says("orders", (instance(1), instance(2), instance(3), instance(4)))
    eventually(lambda: ports(keeper) == [1, 2, 3, 4])
    assert source.watched.count("orders") == 1
