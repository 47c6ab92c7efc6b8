from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graymw.remote.pacing import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_waits_for_nothing_then_steps_come_at_their_rate() -> None:
    clock = Clock()
    pace = Pace(3, 10, clock=clock)
    assert [round(pace.due(), 6) for _ in range(5)] == [0, 0, 0, 0.1, 0.2]


def test_rest_gives_back_no_more_than_a_burst() -> None:
    clock = Clock()
    pace = Pace(2, 10, clock=clock)
    for _ in range(2):
        pace.due()
    clock.now += 1_000
    assert [round(pace.due(), 6) for _ in range(3)] == [0, 0, 0.1]


@given(pauses=st.lists(st.floats(0, 1), max_size=60), burst=st.integers(1, 10), rate=st.floats(1, 100))
def test_there_are_never_more_steps_than_burst_and_rate_allow(pauses: list[float], burst: int, rate: float) -> None:
    clock = Clock()
    pace = Pace(burst, rate, clock=clock)
    began = clock.now
    for steps, pause in enumerate(pauses):
        clock.now += pause
        clock.now += pace.due()
        assert steps + 1 <= burst + (clock.now - began) * rate + 1e-6
