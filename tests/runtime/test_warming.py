from __future__ import annotations

import pytest

from graymw.core.instances import Instance
from graymw.runtime.warming import LEAST, WarmUp

OLD, NEW = (Instance("orders", "10.0.0.1", port, "v2") for port in (1, 2))


def test_instances_of_the_first_snapshot_are_warm() -> None:
    warm_up = WarmUp(10, clock=lambda: 0.0)
    assert not warm_up.born
    assert warm_up.share(OLD) == 1


def test_a_new_one_grows_into_its_share() -> None:
    now = 100.0
    warm_up = WarmUp(10, clock=lambda: now)
    warm_up.appeared([OLD], [OLD, NEW])
    shares = []
    for seconds in (0.0, 0.5, 5.0, 7.5, 10.0):
        now = 100.0 + seconds
        shares.append(warm_up.share(NEW))
    assert shares == pytest.approx([LEAST, LEAST, 0.5, 0.75, 1.0])
    assert warm_up.share(OLD) == 1
    assert not warm_up.born


def test_one_that_leaves_and_comes_back_is_new_again() -> None:
    now = 0.0
    warm_up = WarmUp(10, clock=lambda: now)
    warm_up.appeared([OLD], [OLD, NEW])
    warm_up.appeared([OLD, NEW], [OLD])
    assert not warm_up.born
    now = 8.0
    warm_up.appeared([OLD], [OLD, NEW])
    now = 9.0
    assert warm_up.share(NEW) == LEAST


def test_switched_off_nobody_is_new() -> None:
    warm_up = WarmUp(0)
    warm_up.appeared([OLD], [OLD, NEW])
    assert not warm_up.born
