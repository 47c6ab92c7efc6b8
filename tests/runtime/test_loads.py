from __future__ import annotations

import os

import pytest

from graymw.core.instances import Instance
from graymw.runtime.loads import Loads

ONE, TWO = (Instance("orders", "10.0.0.1", port, "v1") for port in (1, 2))


def test_calls_under_way_are_counted_by_instance() -> None:
    loads = Loads()
    tickets = [loads.begin(ONE), loads.begin(ONE), loads.begin(TWO)]
    assert (loads.of(ONE), loads.of(TWO)) == (2, 1)
    tickets[0].end()
    tickets[0].end()
    assert (loads.of(ONE), loads.of(TWO)) == (1, 1)
    del tickets[1:]
    assert (loads.of(ONE), loads.of(TWO)) == (0, 0)


def test_instances_without_calls_are_forgotten_others_are_not() -> None:
    loads = Loads()
    kept, gone = loads.begin(ONE), loads.begin(TWO)
    gone.end()
    loads.forget_idle()
    assert list(loads._active) == [ONE.authority]
    kept.end()
    assert loads.of(ONE) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_calls_of_a_parent_process_are_not_under_way_in_its_child() -> None:
    loads = Loads()
    ticket = loads.begin(ONE)
    child = os.fork()
    if child == 0:
        os._exit(loads.of(ONE))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loads.of(ONE) == 1
    ticket.end()
