"""Who is passed by, for how long, and who never is."""

from __future__ import annotations

import logging
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.instances import Instance
from graymw.runtime import counters
from graymw.runtime.health import FAILURES_IN_A_ROW, JITTER, LONGEST, PROBE, SHORTEST, Failure, Health


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock=clock, chance=lambda: 0.0)


def instance(port: int, service: str = "orders", version: str = "v2") -> Instance:
    return Instance(service, "10.0.0.1", port, version)


ONE, TWO, THREE, FOUR = (instance(port) for port in (1, 2, 3, 4))
ALL = frozenset(each.authority for each in (ONE, TWO, THREE, FOUR))


def out(health: Health, members: frozenset[str] = ALL) -> set[int]:
    return {int(authority.rpartition(":")[2]) for authority in health.out(members)[0]}


class TestEjection:
    @pytest.mark.parametrize("failure", ["refused", "unanswered"])
    def test_an_instance_without_a_way_to_it_is_out_at_once(self, health: Health, failure: Failure) -> None:
        assert health.failed(ONE, failure)
        assert out(health) == {1}

    def test_broken_connections_and_bad_answers_must_come_in_a_row(self, health: Health) -> None:
        for _ in range(FAILURES_IN_A_ROW["broken"] - 1):
            assert not health.failed(ONE, "broken")
        assert out(health) == set()
        health.answered(ONE, overloaded=False)
        assert not health.records
        for _ in range(FAILURES_IN_A_ROW["answer"] - 1):
            health.answered(ONE, overloaded=True)
        assert out(health) == set()
        assert health.failed(ONE, "broken")
        assert out(health) == {1}

    def test_it_is_counted_each_time_and_logged_once_an_instance(
        self, health: Health, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "graymw"):
            health.failed(ONE, "refused")
            clock.now += SHORTEST
            health.begin(ONE)
            health.failed(ONE, "refused")
            health.failed(TWO, "refused")
        assert counters.snapshot()["ejected"] == 3
        assert len(caplog.records) == 2
        assert "10.0.0.1:1 of orders (v2)" in caplog.text

    def test_calls_that_were_under_way_do_not_make_it_longer(self, health: Health) -> None:
        assert health.failed(ONE, "refused")
        _, until = health.out(ALL)
        assert not health.failed(ONE, "refused")
        assert health.out(ALL)[1] == until

    def test_its_time_doubles_up_to_a_limit_and_is_spread(self, clock: Clock) -> None:
        for chance in (0.0, 1.0):
            health = Health(clock=clock, chance=partial(float, chance))
            lengths = []
            for _ in range(9):
                health.failed(ONE, "refused")
                until = health.out(ALL)[1]
                lengths.append(until - clock.now)
                clock.now = until
                health.begin(ONE)
            assert lengths == pytest.approx(
                [min(SHORTEST * 2**times, LONGEST) * (1 + JITTER * chance) for times in range(9)]
            )


class TestTheFloor:
    def test_failing_instances_are_never_more_than_half_of_the_candidates(self, health: Health) -> None:
        for each in (ONE, TWO, THREE):
            for _ in range(5):
                health.failed(each, "broken")
        assert len(out(health)) == 2
        assert out(health, frozenset({ONE.authority})) == set()
        assert len(out(health, frozenset({ONE.authority, TWO.authority, THREE.authority}))) == 1

    def test_instances_that_nobody_listens_at_are_out_however_many_they_are(self, health: Health) -> None:
        for each in (ONE, TWO, THREE):
            health.failed(each, "refused")
        for _ in range(5):
            health.failed(FOUR, "broken")
        assert out(health) == {1, 2, 3}

    @given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["refused", "broken"])), max_size=60))
    def test_whatever_breaks_half_of_those_that_are_there_stay_in(self, failures: list[tuple[int, Failure]]) -> None:
        health = Health(clock=lambda: 0.0, chance=lambda: 0.5)
        members = frozenset(instance(port).authority for port in range(1, 7))
        for port, failure in failures:
            health.failed(instance(port), failure)
        absent = {record.instance.port for record in health.records.values() if record.absent and record.until}
        passed = out(health, members)
        assert absent <= passed
        assert len(passed - absent) <= max(3 - len(absent), 0)


class TestComingBack:
    def test_one_call_tries_it_while_the_others_pass_it_by(self, health: Health, clock: Clock) -> None:
        health.failed(ONE, "refused")
        clock.now += SHORTEST
        assert out(health) == set()
        health.begin(ONE)
        assert out(health) == {1}
        health.answered(ONE, overloaded=False)
        assert out(health) == set()

    def test_a_trial_that_fails_sends_it_away_for_longer(self, health: Health, clock: Clock) -> None:
        health.failed(ONE, "refused")
        clock.now += SHORTEST
        health.begin(ONE)
        assert health.failed(ONE, "broken")
        clock.now += SHORTEST
        assert out(health) == {1}
        clock.now += SHORTEST
        assert out(health) == set()

    def test_a_trial_that_never_ends_makes_room_for_another(self, health: Health, clock: Clock) -> None:
        health.failed(ONE, "refused")
        clock.now += SHORTEST
        health.begin(ONE)
        clock.now += PROBE
        assert out(health) == set()

    def test_it_is_forgiven_step_by_step(self, health: Health, clock: Clock) -> None:
        for _ in range(3):
            health.failed(ONE, "refused")
            clock.now = health.out(ALL)[1]
            health.begin(ONE)
        health.answered(ONE, overloaded=False)
        for times in (3, 2, 1):
            assert health.records[ONE.authority].times == times
            health.answered(ONE, overloaded=False)
            assert health.records[ONE.authority].times == times
            clock.now += SHORTEST
            health.answered(ONE, overloaded=False)
        assert not health.records

    def test_each_change_of_who_is_out_is_another_epoch(self, health: Health, clock: Clock) -> None:
        epochs = [health.epoch]
        health.failed(ONE, "refused")
        epochs.append(health.epoch)
        clock.now += SHORTEST
        health.begin(ONE)
        epochs.append(health.epoch)
        health.answered(ONE, overloaded=False)
        epochs.append(health.epoch)
        assert len(set(map(id, epochs))) == 4
        health.failed(TWO, "broken")
        assert health.epoch is epochs[-1]


class TestTheRegistry:
    def test_what_it_describes_otherwise_or_no_more_begins_anew(self, health: Health) -> None:
        for each in (ONE, TWO, THREE):
            health.failed(each, "refused")
        health.reconcile([ONE, TWO, THREE], [ONE, instance(2, version="v3")])
        assert out(health) == {1}

    def test_other_services_stay_out_of_it(self, health: Health) -> None:
        health.failed(ONE, "refused")
        health.reconcile([TWO], [])
        assert out(health) == {1}
