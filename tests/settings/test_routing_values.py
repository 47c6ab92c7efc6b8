from __future__ import annotations

import pytest

from graymw.errors import SettingsError
from graymw.settings.schema import Settings


def settings(**told: object) -> Settings:
    return Settings.from_mapping(told, environ={})


def test_what_is_read() -> None:
    read = settings(
        balancer="LEAST_REQUEST",
        retry_budget="12.5%",
        warm_up="2m",
        discover="Orders, payments orders",
        address="https://10.0.0.7:8443",
        weight="7",
        metadata='{"rack": "r7", "row": 3}',
    )
    assert (read.balancer, read.retry_budget, read.warm_up, read.weight) == ("least-request", 1_250, 120, 7)
    assert (read.discover, read.address) == (("orders", "payments"), "https://10.0.0.7:8443")
    assert dict(read.metadata) == {"rack": "r7", "row": "3"}


def test_defaults() -> None:
    read = settings()
    assert (read.balancer, read.retry_budget, read.warm_up, read.weight) == ("round-robin", 2_000, 0, 1)
    assert (read.discover, read.address, dict(read.metadata)) == ((), "", {})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("balancer", "fastest", "'fastest' is no way to balance; write one of: round-robin, random, least-request"),
        ("retry_budget", "a few", "'a few' is no share"),
        ("warm_up", "soon", "'soon' is no time; write seconds such as 30, 30s or 2m"),
        ("warm_up", True, "True is no time"),
        ("address", "host:99999", "'host:99999' is no address; write HOST:PORT, such as 10.0.0.7:8000"),
        ("address", "fd00::7:80", "is no address"),
        ("address", ":", "is no address"),
        ("discover", "orders -x", "'-x' is no service name"),
        ("weight", "10001", "10001 is no weight; write a whole number from 0 to 10000"),
        ("metadata", "rack=r7", "the text is no JSON"),
        ("metadata", '["r7"]', "metadata is no mapping"),
    ],
)
def test_what_is_refused(name: str, value: object, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**{name: value})
    (problem,) = caught.value.problems
    assert problem.path == f"GRAYMW_{name.upper()}"
    assert told in str(problem)
