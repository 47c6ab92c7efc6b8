from __future__ import annotations

from collections.abc import Callable

import pytest

from graymw.messaging import elsewhere, honours
from graymw.runtime import counters
from graymw.runtime.engine import Engine

Process = Callable[..., Engine]
FOR_V2 = {"baggage": "gray.checkout=v2"}
FOR_V1 = {"baggage": "gray.checkout=v1"}


class Alive:
    """Queues that somebody takes messages from."""

    def __init__(self, *queues: str) -> None:
        self.queues = queues

    def live(self, queue: str) -> bool:
        return queue in self.queues


class Mute:
    def live(self, queue: str) -> bool:
        raise ConnectionError("no broker")


@pytest.mark.parametrize(
    ("version", "headers", "honoured"),
    [
        ("v1", FOR_V1, True),
        ("v1", FOR_V2, False),
        ("v2", FOR_V2, True),
        ("v2", FOR_V1, False),
        ("v1", None, True),
        ("v2", None, False),
        ("", FOR_V2, True),
    ],
)
def test_a_message_is_for_the_version_that_was_decided_and_undecided_ones_are_stable_s(
    process: Process, version: str, headers: dict[str, str] | None, honoured: bool
) -> None:
    process(version=version)
    assert honours(headers) is honoured


def test_where_no_release_governs_the_service_every_message_is_everybody_s(process: Process) -> None:
    process({"services": ["payments"]}, version="v7")
    assert honours(FOR_V2)


def test_labels_of_the_service_s_own_count(process: Process) -> None:
    process({"versions": {"orders": {"v1": "3.1", "v2": "3.2"}}}, version="3.2")
    assert honours(FOR_V2)
    assert elsewhere(FOR_V1, "work", Alive()) == "work"


def test_a_gray_message_is_moved_to_where_a_gray_consumer_lives(process: Process) -> None:
    process(version="v1")
    assert elsewhere(FOR_V2, "work", Alive("work.v2")) == "work.v2"


def test_stable_takes_over_where_none_lives(process: Process) -> None:
    process(version="v1")
    assert elsewhere(FOR_V2, "work", Alive()) is None
    assert counters.snapshot()["fallback.stable"] == 1


def test_another_gray_version_hands_it_to_stable_then(process: Process) -> None:
    process(version="v3")
    assert elsewhere(FOR_V2, "work", Alive()) == "work"


def test_unless_anybody_may_take_it(process: Process) -> None:
    process({"fallback": "any"}, version="v3")
    assert elsewhere(FOR_V2, "work", Alive()) is None


def test_or_nobody_may_then_it_waits_for_its_version(process: Process) -> None:
    process({"fallback": "refuse"}, version="v1")
    assert elsewhere(FOR_V2, "work", Alive()) == "work.v2"


@pytest.mark.parametrize("fallback", ["stable", "any", "refuse"])
def test_stable_messages_never_stay_with_a_gray_consumer(process: Process, fallback: str) -> None:
    process({"fallback": fallback}, version="v2")
    assert elsewhere(FOR_V1, "work", Alive()) == "work"
    assert elsewhere(None, "work", Alive()) == "work"


def test_a_broker_that_cannot_tell_does_not_stop_the_work(process: Process) -> None:
    process(version="v1")
    assert elsewhere(FOR_V2, "work", Mute()) is None
    assert counters.snapshot()["messaging.error"] == 1


def test_without_graymw_every_message_is_ours() -> None:
    assert honours(FOR_V2)
    assert elsewhere(FOR_V2, "work", Alive("work.v2")) is None
