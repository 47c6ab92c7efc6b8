"""Tally: counts that no thread loses and no forked process inherits."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from graymw.runtime.tally import Tally


@given(st.lists(st.lists(st.integers(0, 5))))
def test_it_counts_every_key(batches: list[list[int]]) -> None:
    tally: Tally[int] = Tally()
    for batch in batches:
        tally.add(batch)
    assert tally.snapshot() == Counter(key for batch in batches for key in batch)


def test_threads_lose_nothing() -> None:
    tally: Tally[str] = Tally()

    def work() -> None:
        for _ in range(5_000):
            tally.add(("a", "b"))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert tally.snapshot() == {"a": 20_000, "b": 20_000}


def test_a_forked_process_counts_for_itself() -> None:
    tally: Tally[str] = Tally()
    tally.add(["parent"])
    with tally._lock:  # as another thread of the parent may hold it
        child = os.fork()
        if child == 0:
            tally.add(["child"])
            os._exit(0 if tally.snapshot() == {"child": 1} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tally.snapshot() == {"parent": 1}
