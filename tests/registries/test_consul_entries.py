from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.instances import Instance
from graymw.registries.consul_entries import (
    MAX_PAIRS,
    definition_of,
    identity_of,
    instances_of,
    unfit_metadata,
)


def entry(port: int = 8001, *, node: str = "10.0.0.9", **service: Any) -> dict[str, Any]:
    """As ``/v1/health/service`` has it, less what nobody reads."""
    described = {"Service": "orders", "Address": "10.0.0.1", "Port": port, "Tags": [], "Meta": None}
    return {"Node": {"Address": node}, "Service": {**described, **service}}


def one(**service: Any) -> Instance:
    (instance,) = instances_of("orders", [entry(**service)])
    return instance


def test_metadata_tells_what_an_instance_is() -> None:
    instance = one(Meta={"version": "v2", "weight": "3", "zone": "a", "gray": "true", "rack": "r7"})
    assert (instance.service, instance.host, instance.port) == ("orders", "10.0.0.1", 8001)
    assert (instance.version, instance.weight, instance.zone, instance.gray, instance.tls) == (
        "v2",
        3,
        "a",
        True,
        False,
    )
    assert dict(instance.metadata) == {"rack": "r7"}


def test_an_instance_without_an_address_is_where_its_node_is() -> None:
    assert one(Address="").host == "10.0.0.9"
    assert not instances_of("orders", [entry(Address="", node="")])


@pytest.mark.parametrize("host", ["a/b", "user@host", "two words", "a\nb", 7])
def test_what_is_no_host_makes_no_instance(host: Any) -> None:
    assert not instances_of("orders", [entry(Address=host)])


def test_consuls_own_weight_counts_where_the_metadata_has_none() -> None:
    weights = {"Passing": 7, "Warning": 1}
    assert one(Weights=weights).weight == 7
    assert one(Weights=weights, Meta={"weight": "2"}).weight == 2
    assert one(Weights=None).weight == 1


def test_tags_tell_what_metadata_does_not() -> None:
    tags = ["blue", "version=v2", "zone=b", "weight=4", "secure=true", "traefik.enable=true"]
    tagged = one(Tags=tags)
    assert (tagged.version, tagged.zone, tagged.weight, tagged.tls) == ("v2", "b", 4, True)
    assert one(Tags=tags, Meta={"version": "v3"}).version == "v3"
    assert not tagged.metadata


def test_what_spring_cloud_consul_registers_is_understood() -> None:
    """``spring.cloud.consul.discovery.scheme: https`` registers as ``secure``; the rest is the user's metadata."""
    instance = one(Tags=[], Meta={"secure": "true", "version": "1.10", "gRPC_port": "9090"})
    assert (instance.tls, instance.version) == (True, "1.10")
    assert dict(instance.metadata) == {"gRPC_port": "9090"}


def test_an_address_that_stands_there_twice_counts_once_as_it_was_written_last() -> None:
    """An instance that moved to another agent stands with the one before too until that one's check lapses."""
    old = entry(Meta={"version": "v1"}, ModifyIndex=10)
    new = entry(Meta={"version": "v2"}, ModifyIndex=12)
    for entries in ([old, new], [new, old]):
        (instance,) = instances_of("orders", entries)
        assert instance.version == "v2"


def test_the_order_of_the_answer_does_not_matter() -> None:
    entries = [entry(8002), entry(8001), entry(8003)]
    assert [found.port for found in instances_of("orders", entries)] == [8001, 8002, 8003]
    assert instances_of("orders", entries) == instances_of("orders", entries[::-1])


@pytest.mark.parametrize("port", [0, -1, 65_536, None, "80", True])
def test_what_has_no_port_is_no_instance(port: Any) -> None:
    assert not instances_of("orders", [entry(Port=port)])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "Node": json_values,
                "Service": json_values
                | st.fixed_dictionaries(
                    {},
                    optional=dict.fromkeys(("Address", "Port", "Tags", "Meta", "Weights", "ModifyIndex"), json_values),
                ),
            },
        ),
        max_size=3,
    )
)
def test_no_entry_is_so_strange_that_it_breaks_the_others(strange: list[dict[str, Any]]) -> None:
    assert any(instance.port == 8001 for instance in instances_of("orders", [*strange, entry()]))


def registered(instance: Instance, tag: str = "") -> dict[str, Any]:
    return definition_of(instance, tag=tag, ttl=15, forgotten_after="1m")


def test_what_is_registered_is_read_back() -> None:
    instance = Instance("orders", "::1", 8001, "v2", 3, "a", tls=True, gray=True, metadata={"rack": "r7"})
    definition = registered(instance)
    assert instances_of("orders", [{"Node": {}, "Service": {**definition, "Service": "orders"}}]) == (instance,)


def test_version_and_tag_are_tags_so_that_dns_can_tell_versions_apart() -> None:
    instance = Instance("orders", "10.0.0.1", 8001, "v2")
    assert registered(instance)["Tags"] == ["v2"]
    assert registered(instance, "team-a")["Tags"] == ["v2", "team-a"]
    assert registered(instance, "v2")["Tags"] == ["v2"]
    assert registered(Instance("orders", "10.0.0.1", 8001, ""))["Tags"] == []


def test_it_is_healthy_from_the_start_and_as_long_as_heartbeats_come() -> None:
    check = registered(Instance("orders", "10.0.0.1", 8001, "v2"))["Check"]
    assert (check["Status"], check["TTL"], check["DeregisterCriticalServiceAfter"]) == ("passing", "15000ms", "1m")


def test_an_instance_that_takes_no_traffic_says_so_in_its_metadata() -> None:
    """Consul refuses a weight of 0."""
    definition = registered(Instance("orders", "10.0.0.1", 8001, "v2", 0))
    assert definition["Weights"]["Passing"] == 1
    assert definition["Meta"]["weight"] == "0"


def test_it_has_the_same_name_after_a_restart_and_another_one_at_another_address() -> None:
    first, second = Instance("orders", "10.0.0.1", 8001, "v1"), Instance("orders", "10.0.0.1", 8001, "v2")
    assert identity_of(first) == identity_of(second)
    assert identity_of(Instance("orders", "10.0.0.1", 8002, "v1")) != identity_of(first)


def test_metadata_that_consul_refuses_is_left_out_and_told() -> None:
    metadata = {"a.b": "1", "consul-x": "1", "long": "x" * 513, "k" * 129: "1", "fine": "x" * 512}
    instance = Instance("orders", "10.0.0.1", 8001, "v2", metadata=metadata)
    assert registered(instance)["Meta"] == {"version": "v2", "weight": "1", "fine": "x" * 512}
    assert unfit_metadata(instance) == sorted(metadata.keys() - {"fine"})


def test_of_too_much_metadata_what_graymw_reads_stays() -> None:
    instance = Instance("orders", "10.0.0.1", 8001, "v2", zone="a", metadata={f"key{n}": "x" for n in range(100)})
    meta = registered(instance)["Meta"]
    assert len(meta) == MAX_PAIRS
    assert meta.items() >= {"version": "v2", "weight": "1", "zone": "a"}.items()
