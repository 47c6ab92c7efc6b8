from __future__ import annotations

from graymw.runtime.retry_budget import SPARE, WINDOW, RetryBudget

FLOOR = int(SPARE * WINDOW)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(budget: RetryBudget, most: int = 100_000) -> int:
    found = 0
    while found < most and budget.take():
        found += 1
    return found


def calls(budget: RetryBudget, count: int) -> None:
    for _ in range(count):
        budget.call()


def test_a_process_that_calls_little_may_retry_a_little() -> None:
    assert taken(RetryBudget(2_000, clock=Clock())) == FLOOR


def test_retries_are_a_share_of_the_calls() -> None:
    budget = RetryBudget(2_000, clock=Clock())
    calls(budget, 5_000)
    assert taken(budget) == FLOOR + 1_000


def test_only_the_last_seconds_count() -> None:
    clock = Clock()
    budget = RetryBudget(2_000, clock=clock)
    calls(budget, 10_000)
    clock.now = 100.0
    assert taken(budget) == FLOOR + 200  # as if they had come evenly
    clock.now = 105.0
    assert not budget.take()
    clock.now = 111.0
    assert taken(budget) == FLOOR


def test_a_storm_gets_its_share_and_no_more() -> None:
    clock = Clock()
    budget = RetryBudget(2_000, clock=clock)
    made = 0
    for _ in range(600):
        clock.now += 0.1
        calls(budget, 100)
        made += taken(budget, 100)
    assert made <= 60_000 * (0.2 + SPARE / 1_000) * 1.05


def test_what_was_not_used_can_be_given_back() -> None:
    budget = RetryBudget(2_000, clock=Clock())
    for _ in range(3 * FLOOR):
        assert budget.take()
        budget.give_back()


def test_zero_switches_retries_off() -> None:
    budget = RetryBudget(0, clock=Clock())
    calls(budget, 1_000)
    assert not budget.take()
