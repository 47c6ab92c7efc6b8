from __future__ import annotations

from graymw.runtime.first_times import MOST, FirstTimes


def test_each_key_has_one_first_time() -> None:
    first = FirstTimes()
    assert [first("a"), first("b"), first("a")] == [True, True, False]


def test_of_too_many_the_oldest_is_forgotten() -> None:
    first = FirstTimes()
    for number in range(MOST + 1):
        assert first(str(number))
    assert not first("1")
    assert not first(str(MOST))
    assert first("0")
    assert len(first._seen) == MOST
