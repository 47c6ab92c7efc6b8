from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graymw.runtime.backoff import STEADY_SECONDS, Backoff


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(1.0, 5.0, entropy=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_it_begins_anew_after_success() -> None:
    backoff = Backoff(1.0, 5.0, entropy=lambda: 1.0)
    backoff.next()
    backoff.next()
    backoff.reset()
    assert backoff.next() == 1.0


@given(entropy=st.floats(0, 1, exclude_max=True), attempts=st.integers(1, 100))
def test_no_wait_is_shorter_than_half_its_bound_or_longer_than_the_cap(entropy: float, attempts: int) -> None:
    backoff = Backoff(0.1, 30.0, entropy=lambda: entropy)
    waits = [backoff.next() for _ in range(attempts)]
    assert all(0.05 <= wait <= 30.0 for wait in waits)


def test_what_goes_well_for_a_moment_only_is_not_tried_in_a_busy_loop() -> None:
    backoff = Backoff(cap=30.0, entropy=lambda: 1.0)
    waits = []
    for _ in range(8):
        backoff.went_well(0.01)
        waits.append(backoff.next())
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]


def test_what_went_well_for_long_is_tried_again_at_once_however_long_the_waits_were() -> None:
    backoff = Backoff(cap=30.0, entropy=lambda: 1.0)
    for _ in range(10):
        backoff.next()
    backoff.went_well(0.01)
    assert backoff.next() == 1.0
    backoff.went_well(STEADY_SECONDS)
    assert backoff.next() == 0.1
