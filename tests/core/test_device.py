"""Kinds of device, on user agents as they are sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.device import classify

GOLDEN = Path(__file__).parent.parent / "golden" / "user_agents.txt"
USER_AGENTS = [line.split("\t") for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


def first(kind: str) -> str:
    return next(user_agent for expected, user_agent in USER_AGENTS if expected == kind)


@pytest.mark.parametrize(("expected", "user_agent"), USER_AGENTS, ids=lambda value: value[:60])
def test_user_agents(expected: str, user_agent: str) -> None:
    assert classify(user_agent) == expected


@pytest.mark.parametrize("user_agent", [None, "", "SomethingElse/1.0"])
def test_what_tells_nothing_is_no_device(user_agent: str | None) -> None:
    assert classify(user_agent) is None


def test_the_client_hint_wins_over_the_user_agent() -> None:
    phone, laptop = first("mobile"), first("desktop")

    assert classify(laptop, "?1") == "mobile"
    assert classify(phone, "?0") == "desktop"
    assert classify(None, "?1") == "mobile"
    assert classify(None, "?0") == "desktop"


def test_the_client_hint_does_not_make_a_tablet_a_desktop_nor_a_bot_a_phone() -> None:
    assert classify(first("tablet"), "?0") == "tablet"
    assert classify("curl/8.7.1", "?1") == "bot"


def test_an_unknown_hint_counts_for_nothing() -> None:
    assert classify("curl/8.7.1", "yes") == "bot"
    assert classify(None, "yes") is None


@given(st.text(), st.none() | st.text(max_size=4))
def test_any_text_is_some_kind_or_none(user_agent: str, hint: str | None) -> None:
    assert classify(user_agent, hint) in {"mobile", "tablet", "desktop", "bot", None}
