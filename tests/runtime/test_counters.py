from __future__ import annotations

import logging
import os
import threading

import pytest

from graymw.runtime import counters

log = logging.getLogger("graymw.test")


def test_counts_by_name_in_order() -> None:
    counters.count("b")
    counters.count("a", 2)
    counters.count("b")
    assert list(counters.snapshot().items()) == [("a", 2), ("b", 2)]


def test_no_count_is_lost_between_threads() -> None:
    threads = [threading.Thread(target=lambda: [counters.count("x") for _ in range(2_000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.snapshot() == {"x": 16_000}


def test_names_are_bounded() -> None:
    for number in range(counters.MAX_NAMES + 5):
        counters.count(f"n{number}")
    counters.count("n0")
    assert counters.snapshot()["n0"] == 2
    assert counters.snapshot()[counters.OVERFLOW] == 5


def test_a_message_is_logged_once_for_its_key(caplog: pytest.LogCaptureFixture) -> None:
    for key in ("a", "b", "a"):
        counters.once(log, key, logging.WARNING, "seen %s", key)
    assert [record.getMessage() for record in caplog.records] == ["seen a", "seen b"]


def test_keys_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(counters.MAX_NAMES + 5):
        counters.once(log, str(number), logging.WARNING, "x")
    assert len(caplog.records) == counters.MAX_NAMES


def test_the_error_itself_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    counters.once(log, "a", logging.ERROR, "failed", exc_info=ValueError("why"))
    assert "ValueError: why" in caplog.text


def test_a_forked_process_counts_for_itself() -> None:
    counters.count("x", 3)
    child = os.fork()
    if child == 0:
        counters.count("x")
        os._exit(counters.snapshot()["x"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert counters.snapshot() == {"x": 3}


def test_keys_from_outside_leave_room_for_others(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2 * counters.MAX_NAMES):
        counters.some(log, "stranger", str(number), logging.WARNING, "stranger %d", number)
    counters.once(log, "important", logging.WARNING, "important")
    assert len(caplog.messages) == counters.MAX_OF_A_KIND + 1
    assert caplog.messages[-1] == "important"
