"""Which instance takes a call, by decision, health, zone and balancer; here without any client."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import eventually

from graymw.core.context import UNDECIDED, Decision, GrayContext
from graymw.core.document import parse
from graymw.core.instances import Instance
from graymw.core.model import RuleDocument
from graymw.errors import GrayUnavailableError
from graymw.runtime import instance_picking
from graymw.runtime.health import SHORTEST
from graymw.runtime.instance_picking import InstanceDirectory
from graymw.settings.schema import Settings

BALANCERS = ("round-robin", "random", "least-request", "sticky")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Registry:
    """Says what it was last told."""

    def __init__(self, *instances: Instance) -> None:
        self.known: tuple[Instance, ...] = instances

    def instances(self, service: str) -> tuple[Instance, ...] | None:
        return self.known if service == "orders" else None


def instance(port: int, version: str = "v1", **more: Any) -> Instance:
    return Instance("orders", "10.0.0.1", port, version, **more)


def document(**release: object) -> RuleDocument:
    return parse({"schema": 1, "releases": {"checkout": {"services": ["orders"], "stable": "v1", **release}}})


def decided(version: str) -> GrayContext:
    return GrayContext([Decision("checkout", version, "match", stable="v1")])


def directory(registry: Registry, clock: Clock | None = None, **more: object) -> InstanceDirectory:
    found = Settings.from_mapping({"service": "edge", **more}, environ={})
    return InstanceDirectory(registry, found, clock=clock or Clock(), chance=random.Random(7).random)


V1, V2 = decided("v1"), decided("v2")
PLAIN = document()


def picked(
    found: InstanceDirectory, gray: GrayContext, count: int = 1, rules: RuleDocument = PLAIN, key: str | None = None
) -> Counter[int]:
    """Ports of the instances that calls went to; each call is over at once."""
    ports: Counter[int] = Counter()
    for number in range(count):
        choice = found.choose(rules, "orders", gray, key if key is not None else f"user-{number}")
        assert choice.instance is not None
        ports[choice.instance.port] += 1
        if choice.ticket is not None:
            choice.ticket.end()
    return ports


class TestByDecision:
    def test_an_unknown_service_is_left_as_addressed(self) -> None:
        assert directory(Registry()).choose(PLAIN, "stock", V2).instance is None

    def test_letter_case_does_not_matter(self) -> None:
        choice = directory(Registry(instance(1))).choose(PLAIN, "ORDERS", V1)
        assert choice.instance is not None

    @pytest.mark.parametrize("failing", [False, True])
    def test_rules_hold_for_each_port_and_by_each_name_of_a_service(self, failing: bool) -> None:
        class ByPort(Registry):
            def instances(self, service: str) -> tuple[Instance, ...] | None:
                ports = {"orders:9090": self.known[:3], "orders.shop.svc": self.known, "orders": self.known[3:]}
                return ports.get(service)

            def at_port(self, service: str, port: int) -> str:
                return f"{service}:{port}" if port == 9090 else service

        found = directory(ByPort(*(instance(port, version) for port in (1, 2) for version in ("v1", "v2", "v2"))))
        if failing:
            found.health.failed(Instance("stock", "10.0.0.9", 9, "v1"), "refused")
        for gray, version in ((V1, "v1"), (UNDECIDED, "v1"), (V2, "v2")):
            for name, port, reached in (
                ("orders", 9090, {1}),
                ("orders", 80, {2}),
                ("orders", None, {2}),
                ("orders.shop.svc", 80, {1, 2}),
            ):
                chosen = [found.choose(PLAIN, name, gray, port=port).instance for _ in range(20)]
                assert {each.port for each in chosen if each is not None} == reached
                assert {each.version for each in chosen if each is not None} == {version}
                again = found.choose_again(PLAIN, name, gray, None, frozenset(), elsewhere=False, port=port)
                assert again.instance is not None
                assert again.instance.version == version

    def test_a_known_service_without_instances_is_unavailable(self) -> None:
        for gray in (V1, V2, UNDECIDED):
            with pytest.raises(GrayUnavailableError, match="orders"):
                directory(Registry()).choose(PLAIN, "orders", gray)

    def test_another_document_is_another_answer(self) -> None:
        found = directory(Registry(instance(1, "v1"), instance(2, "v2")))
        assert picked(found, V2) == {2: 1}
        other = document(versions={"orders": {"v2": "v1", "v1": "v9"}})
        assert picked(found, V2, rules=other) == {1: 1}
        assert picked(found, V2) == {2: 1}

    def test_a_version_with_too_few_instances_waits_for_more(self) -> None:
        registry = Registry(instance(1), instance(2, "v2"))
        found = directory(registry)
        rules = document(min_instances=2)
        assert found.choose(rules, "orders", V2).fallback == "stable"
        registry.known = (*registry.known, instance(3, "v2"))
        assert picked(found, V2, 10, rules) == {2: 5, 3: 5}
        found.health.failed(instance(3, "v2"), "refused")
        assert found.choose(rules, "orders", V2).fallback == "stable"

    def test_what_is_remembered_is_bounded(self) -> None:
        found = directory(Registry(instance(1), instance(2, "v2")))
        for number in range(1_100):
            found.choose(PLAIN, "orders", GrayContext([Decision("checkout", f"x{number}", "match", stable="v1")]))
        assert len(found._services["orders"].remembered[1]) <= 512


@pytest.mark.parametrize("balancer", BALANCERS)
class TestEveryBalancer:
    def test_shares_by_weight(self, balancer: str) -> None:
        found = directory(Registry(instance(1, weight=3), instance(2, weight=1)), balancer=balancer)
        heavy = picked(found, V1, 4_000)[1] / 4_000
        # of two choices the heavier is taken when the lighter is drawn with it and has as many calls
        assert heavy == pytest.approx(0.75, abs=0.12)

    def test_passes_by_who_is_out_and_shares_among_the_others(self, balancer: str) -> None:
        members = [instance(port) for port in range(1, 6)]
        found = directory(Registry(*members), balancer=balancer)
        found.health.failed(members[0], "refused")
        ports = picked(found, V1, 400)
        assert set(ports) == {2, 3, 4, 5}
        assert min(ports.values()) > 40

    def test_never_tries_an_instance_twice(self, balancer: str) -> None:
        members = [instance(port) for port in range(1, 4)]
        found = directory(Registry(*members), balancer=balancer)
        for _ in range(20):
            tried: frozenset[str] = frozenset()
            for _ in members:
                choice = found.choose_again(PLAIN, "orders", V1, "key", tried, elsewhere=False)
                assert choice.instance is not None
                assert choice.instance.authority not in tried
                tried |= {choice.instance.authority}
            with pytest.raises(GrayUnavailableError):
                found.choose_again(PLAIN, "orders", V1, "key", tried, elsewhere=False)

    def test_lets_a_new_instance_grow(self, balancer: str) -> None:
        registry, clock = Registry(instance(1), instance(2)), Clock()
        found = directory(registry, clock, balancer=balancer, warm_up="100")
        assert len(picked(found, V1, 100)) == 2
        registry.known = (*registry.known, instance(3))
        shares = []
        for seconds in (0, 50, 50):
            clock.now += seconds
            shares.append(picked(found, V1, 3_000)[3] / 3_000)
        assert shares[0] < 0.09
        assert shares[0] < shares[1] < shares[2]
        assert shares[2] == pytest.approx(1 / 3, abs=0.1)
        assert not found._warm_up.born

    def test_prefers_its_own_zone_while_half_of_it_is_fit(self, balancer: str) -> None:
        near = [instance(port, zone="a") for port in range(1, 5)]
        far = [instance(port, zone="b") for port in range(5, 9)]
        found = directory(Registry(*near, *far), balancer=balancer, zone="a")
        assert set(picked(found, V1, 200)) == {1, 2, 3, 4}
        for each in near[:2]:
            found.health.failed(each, "refused")
        assert set(picked(found, V1, 200)) == {3, 4}
        found.health.failed(near[2], "refused")
        assert set(picked(found, V1, 400)) == {4, 5, 6, 7, 8}

    def test_a_zone_without_instances_is_no_preference(self, balancer: str) -> None:
        found = directory(Registry(instance(1, zone="b"), instance(2)), balancer=balancer, zone="a")
        assert set(picked(found, V1, 200)) == {1, 2}


class TestRoundRobin:
    def test_is_smooth(self) -> None:
        found = directory(Registry(instance(1, weight=2), instance(2)))
        ports = [next(iter(picked(found, V1))) for _ in range(9)]
        assert Counter(ports) == {1: 6, 2: 3}
        assert "222" not in "".join(map(str, ports))

    def test_processes_do_not_begin_at_the_same_instance(self) -> None:
        registry = Registry(*(instance(port) for port in range(1, 11)))
        settings = Settings.from_mapping({"service": "edge"}, environ={})
        first = {next(iter(picked(InstanceDirectory(registry, settings), V1))) for _ in range(60)}
        assert len(first) > 3


class TestLeastRequest:
    def test_prefers_who_has_fewer_calls_under_way(self) -> None:
        found = directory(Registry(instance(1), instance(2)), balancer="least-request")
        held = [found.choose(PLAIN, "orders", V1) for _ in range(100)]
        ports = Counter(each.instance.port for each in held if each.instance is not None)
        assert abs(ports[1] - ports[2]) <= 10
        busy = [each.ticket for each in held if each.instance is not None and each.instance.port == 1]
        for each in held:
            if each.ticket is not None and each.ticket not in busy:
                each.ticket.end()
        assert picked(found, V1, 100)[2] > 60

    def test_calls_that_are_over_or_forgotten_are_not_under_way(self) -> None:
        one = instance(1)
        found = directory(Registry(one), balancer="least-request")
        assert found._loads is not None
        kept = found.choose(PLAIN, "orders", V1)
        found.choose(PLAIN, "orders", V1)
        assert found._loads.of(one) == 1
        assert kept.ticket is not None
        kept.ticket.end()
        kept.ticket.end()
        assert found._loads.of(one) == 0

    def test_counts_are_right_under_threads(self) -> None:
        members = [instance(1), instance(2)]
        found = directory(Registry(*members), balancer="least-request")

        def work() -> None:
            for _ in range(2_000):
                ticket = found.choose(PLAIN, "orders", V1).ticket
                assert ticket is not None
                ticket.end()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert found._loads is not None
        assert [found._loads.of(each) for each in members] == [0, 0]


class TestSticky:
    def test_equal_keys_meet_the_same_instance_in_every_process(self) -> None:
        registry = Registry(*(instance(port) for port in range(1, 11)))
        one, other = (directory(registry, balancer="sticky") for _ in range(2))
        for number in range(50):
            key = f"user-{number}"
            assert len(picked(one, V1, 5, key=key)) == 1
            assert picked(one, V1, key=key) == picked(other, V1, key=key)

    def test_while_an_instance_is_out_only_its_own_keys_move(self) -> None:
        members = [instance(port) for port in range(1, 11)]
        found = directory(Registry(*members), balancer="sticky")
        keys = [f"user-{number}" for number in range(100)]
        before = {key: picked(found, V1, key=key) for key in keys}
        found.health.failed(members[0], "refused")
        for key in keys:
            after = picked(found, V1, key=key)
            assert (after == before[key]) == (before[key] != {1: 1})

    def test_a_key_moves_to_an_instance_that_warms_up_once_and_stays(self) -> None:
        registry, clock = Registry(instance(1), instance(2)), Clock()
        found = directory(registry, clock, balancer="sticky", warm_up="100")
        picked(found, V1)
        registry.known = (*registry.known, instance(3))
        moved: set[int] = set()
        for _ in range(10):
            there = {n for n in range(100) if picked(found, V1, key=f"user-{n}") == {3: 1}}
            assert moved <= there
            moved = there
            clock.now += 10
        assert moved

    def test_work_without_a_key_goes_anywhere(self) -> None:
        found = directory(Registry(instance(1), instance(2)), balancer="sticky")
        ports = {choice.instance.port for _ in range(50) if (choice := found.choose(PLAIN, "orders", V1)).instance}
        assert ports == {1, 2}


class TestFailing:
    def test_a_version_that_all_fails_goes_to_the_fallback_until_one_is_back(self) -> None:
        clock = Clock()
        gray = [instance(2, "v2"), instance(3, "v2")]
        found = directory(Registry(instance(1), *gray), clock)
        for each in gray:
            found.health.failed(each, "refused")
        choice = found.choose(PLAIN, "orders", V2)
        assert (choice.instance, choice.fallback) == (instance(1), "stable")
        clock.now += 2 * SHORTEST
        trial = found.choose(PLAIN, "orders", V2)
        assert trial.instance in gray
        assert trial.instance is not None
        assert picked(found, V2, 3).keys() <= {2, 3} - {trial.instance.port} | {1}
        found.health.answered(trial.instance, overloaded=False)
        assert trial.instance.port in picked(found, V2, 2)

    def test_a_stable_version_that_all_fails_is_tried_all_the_same(self) -> None:
        members = [instance(1), instance(2)]
        found = directory(Registry(*members, instance(3, "v2")))
        for each in members:
            found.health.failed(each, "refused")
        assert set(picked(found, V1, 20)) == {1, 2}

    def test_a_version_that_may_not_fall_back_is_tried_all_the_same(self) -> None:
        found = directory(Registry(instance(1), instance(2, "v2")))
        found.health.failed(instance(2, "v2"), "refused")
        assert set(picked(found, V2, 5, document(fallback="refuse"))) == {2}

    def test_a_call_is_tried_in_its_version_first_and_then_where_the_fallback_says(self) -> None:
        found = directory(Registry(instance(1), instance(2, "v2"), instance(3, "v2")))
        tried = frozenset({instance(2, "v2").authority})
        choice = found.choose_again(PLAIN, "orders", V2, None, tried, elsewhere=False)
        assert (choice.instance, choice.fallback) == (instance(3, "v2"), None)
        choice = found.choose_again(PLAIN, "orders", V2, None, tried, elsewhere=True)
        assert (choice.instance, choice.fallback) == (instance(1), "stable")

    @given(
        st.lists(st.tuples(st.sampled_from(["v1", "v2", ""]), st.booleans()), min_size=1, max_size=6),
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["refused", "broken", "unanswered"])), max_size=30),
        st.sampled_from(["stable", "any", "refuse"]),
        st.sampled_from(BALANCERS),
        st.booleans(),
    )
    @settings(deadline=None, max_examples=150)
    def test_what_is_not_gray_reaches_no_gray_instance_whatever_fails(
        self, marks: list[tuple[str, bool]], failures: Any, fallback: str, balancer: str, governed: bool
    ) -> None:
        members = [instance(port, version, gray=gray) for port, (version, gray) in enumerate(marks)]
        found = directory(Registry(*members), balancer=balancer)
        for place, failure in failures:
            found.health.failed(members[place % len(members)], failure)
        rules = document(fallback=fallback) if governed else RuleDocument()
        for gray in (UNDECIDED, V1):
            tried: frozenset[str] = frozenset()
            try:
                for elsewhere in (False, False, True, True):
                    chosen = found.choose_again(rules, "orders", gray, "key", tried, elsewhere=elsewhere).instance
                    assert chosen is not None
                    assert chosen.version in ("v1", "") if governed else not chosen.gray
                    assert not (governed and chosen.version == "" and chosen.gray)
                    tried |= {chosen.authority}
            except GrayUnavailableError:
                pass


class TestChangesOfTheRegistry:
    def test_an_instance_that_changed_begins_anew(self) -> None:
        registry = Registry(instance(1), instance(2))
        found = directory(registry)
        picked(found, V1)
        found.health.failed(instance(1), "refused")
        registry.known = (instance(1, weight=2), instance(2))
        assert picked(found, V1, 3) == {1: 2, 2: 1}
        assert not found.health.records

    def test_an_instance_that_did_not_change_stays_out(self) -> None:
        registry = Registry(instance(1), instance(2))
        found = directory(registry)
        picked(found, V1)
        found.health.failed(instance(1), "refused")
        registry.known = (instance(1), instance(2), instance(3))
        assert set(picked(found, V1, 10)) == {2, 3}


class TestLargeServices:
    @pytest.fixture
    def large(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Registry, threading.Event]]:
        """A service over the bound; its tables are made only when the event is set."""
        go = threading.Event()
        make = instance_picking._Known
        monkeypatch.setattr(instance_picking, "BUILT_AT_ONCE", 3)

        def slowly(instances: tuple[Instance, ...]) -> Any:
            if threading.current_thread() is not threading.main_thread():
                assert go.wait(5)
            return make(instances)

        monkeypatch.setattr(instance_picking, "_Known", slowly)
        yield Registry(*(instance(port) for port in range(1, 6))), go
        go.set()

    def test_calls_go_on_by_the_old_table_while_the_new_one_is_made(
        self, large: tuple[Registry, threading.Event]
    ) -> None:
        registry, go = large
        found = directory(registry)
        assert set(picked(found, V1, 10)) == {1, 2, 3, 4, 5}
        registry.known = tuple(instance(port) for port in range(11, 16))
        assert set(picked(found, V1, 10)) == {1, 2, 3, 4, 5}
        go.set()
        eventually(lambda: set(picked(found, V1, 10)) == {11, 12, 13, 14, 15})

    def test_without_a_thread_a_call_makes_the_table(
        self, large: tuple[Registry, threading.Event], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry, _ = large
        found = directory(registry)
        picked(found, V1)

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        registry.known = tuple(instance(port) for port in range(11, 16))
        assert set(picked(found, V1, 10)) == {11, 12, 13, 14, 15}
