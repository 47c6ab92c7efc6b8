from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.instance_metadata import instance_from_metadata
from graymw.registries.nacos_entries import description_of, form_of, instances_of, place_of


def host(port: int = 80, **more: Any) -> dict[str, Any]:
    return {"ip": "10.0.0.1", "port": port, "weight": 1.0, "healthy": True, "enabled": True, **more}


def test_what_is_registered_is_read_back() -> None:
    metadata = {"version": "v2", "weight": "7", "zone": "b", "gray": "true", "tls": "true", "rack": "r1"}
    instance = instance_from_metadata("orders", "10.0.0.1", 80, metadata)
    assert instances_of("orders", [description_of(instance, "")]) == (instance,)


def test_the_weight_is_registered_as_nacos_own() -> None:
    described = description_of(instance_from_metadata("orders", "h", 80, {"weight": "7"}), "HZ")
    assert (described["weight"], described["metadata"], described["clusterName"]) == (7.0, {}, "HZ")


def test_forms_hold_the_same_as_text() -> None:
    form = form_of(description_of(instance_from_metadata("orders", "h", 80, {"rack": "é"}), ""))
    assert (form["weight"], form["ephemeral"], form["port"]) == ("1.0", "true", "80")
    assert json.loads(form["metadata"]) == {"rack": "é"}
    assert place_of(instance_from_metadata("orders", "h", 80, {}), "") == {
        "ip": "h",
        "port": "80",
        "clusterName": "DEFAULT",
    }


@pytest.mark.parametrize(
    "more",
    [
        {"healthy": False},
        {"enabled": False},
        {"ip": ""},
        {"ip": "h\r\nx: y"},
        {"port": True},
        {"port": 0},
        {"port": "80"},
    ],
)
def test_what_takes_no_calls_is_left_out(more: dict[str, Any]) -> None:
    assert [one.port for one in instances_of("orders", [host(**more), host(81)])] == [81]


def test_each_place_is_told_once() -> None:
    assert len(instances_of("orders", [host(), host()])) == 1


@pytest.mark.parametrize(
    ("weights", "read"),
    [
        (((1.0, None), (3.0, None)), [1, 3]),
        (((0.5, None), (2.0, None)), [50, 200]),
        (((0.25, "3"), (1.0, "0.1")), [300, 10]),
        (((0.0, "5"), (1.0, None)), [0, 1]),
        (((None, None), (1.0, "much")), [1, 1]),
        (((10**400, None), (1.0, None)), [1, 1]),
        (((float("nan"), None), (-1, None)), [1, 1]),
    ],
)
def test_shares_of_weights_are_kept(weights: tuple[tuple[Any, Any], ...], read: list[int]) -> None:
    hosts = [
        host(80 + place, weight=own, metadata={} if told is None else {"weight": told})
        for place, (own, told) in enumerate(weights)
    ]
    assert [one.weight for one in instances_of("orders", hosts)] == read


def test_springs_and_dubbos_own_words_are_understood() -> None:
    (found,) = instances_of("orders", [host(metadata={"secure": "true", "dubbo.tag": "gray"}, clusterName="HZ")])
    assert (found.tls, found.version, found.zone) == (True, "gray", "HZ")
    (found,) = instances_of("orders", [host(metadata={"version": "v1", "dubbo.tag": "gray", "zone": "a"})])
    assert (found.version, found.zone) == ("v1", "a")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["ip", "port", "weight", "healthy", "enabled", "metadata", "clusterName"])


@given(st.lists(st.dictionaries(FIELDS, JSON) | JSON, max_size=4))
def test_whatever_a_server_tells_it_is_read_without_an_error(hosts: list[Any]) -> None:
    instances_of("orders", [*hosts, *({**host(), **each} for each in hosts if isinstance(each, dict))])
