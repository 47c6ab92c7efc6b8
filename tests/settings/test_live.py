"""Which settings may change in a running process, and which wait for its next start."""

from __future__ import annotations

import dataclasses

import pytest

from graymw.settings.access import Access
from graymw.settings.live import LIVE, adopted, changed_names, lasting, waiting_names
from graymw.settings.schema import NO_SETTINGS, Settings

CHANGED: dict[str, object] = {
    "trust": "all",
    "secret": "0123456789abcdef",
    "signature_ttl": 60,
    "egress": ".example.com",
    "user": "header:x-uid",
    "region": "cookie:r",
    "device": "user-agent",
    "strict": True,
    "access_log_facts": True,
    "retry_budget": "5%",
    "sample_gray": 0.5,
    "sample_stable": 0.05,
    "services": {"orders": [{"url": "http://127.0.0.1:8001"}]},
}


def settings(**told: object) -> Settings:
    return Settings.from_mapping({"service": "orders", **told}, environ={})


def test_every_setting_that_may_change_is_in_this_table() -> None:
    assert set(CHANGED) == set(LIVE) <= {entry.name for entry in dataclasses.fields(Settings)} - set(NO_SETTINGS)


@pytest.mark.parametrize("name", LIVE)
def test_what_may_change_is_adopted_by_itself(name: str) -> None:
    before, written = settings(), settings(**{name: CHANGED[name]})
    now = adopted(before, written)
    assert getattr(now, name) == getattr(written, name) != getattr(before, name)
    assert dataclasses.replace(now, **{name: getattr(before, name)}) == before
    assert changed_names(before, now) == (f"GRAYMW_{name.upper()}",)
    assert waiting_names(now, written) == ()


def test_what_lasts_is_not_adopted_but_told() -> None:
    before = settings(zone="a")
    written = settings(zone="b", balancer="random", trust="all", enabled=False)
    now = adopted(before, written)
    assert (now.zone, now.balancer, now.enabled, now.trust) == ("a", "round-robin", True, "all")
    assert waiting_names(now, written) == ("GRAYMW_ENABLED", "GRAYMW_ZONE", "GRAYMW_BALANCER")


def test_nothing_new_is_the_same_object() -> None:
    before = settings(trust="all")
    assert adopted(before, settings(trust="all", zone="b")) is before


def test_credentials_are_told_by_their_own_variables_and_never_by_value() -> None:
    written = dataclasses.replace(settings(), rules_access=Access(token="s3cret", ca="/ca.pem"))
    assert waiting_names(settings(), written) == ("GRAYMW_RULES_TOKEN", "GRAYMW_RULES_CA")


@pytest.mark.parametrize("name", LIVE)
def test_engines_are_alike_whatever_may_change(name: str) -> None:
    assert lasting(settings()) == lasting(settings(**{name: CHANGED[name]}))


def test_engines_differ_by_what_lasts_even_where_a_default_is_written_out() -> None:
    assert lasting(settings()) != lasting(settings(zone="b"))
    assert lasting(settings()) != lasting(settings(gray_version="v2")), "which makes it the short form"
