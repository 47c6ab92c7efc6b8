from __future__ import annotations

import pytest

from graymw.errors import SettingsError
from graymw.registries.nacos import registry_place
from graymw.sources.nacos import rules_place


def test_a_bare_address_means_the_public_namespace_and_the_default_group() -> None:
    place = registry_place("nacos://nacos.internal")
    assert (place.namespace, place.group) == ("public", "DEFAULT_GROUP")
    assert place.url.base_urls == ("http://nacos.internal:8848",)
    assert place.grpc_hosts == (("nacos.internal", 9848),)


def test_several_servers_push_beside_their_own_ports() -> None:
    place = registry_place("nacos+https://a:80,b?namespace=n&group=g&cluster=c")
    assert place.grpc_hosts == (("a", 1080), ("b", 9848))
    assert (place.namespace, place.group, place.url.secure) == ("n", "g", True)


def test_the_port_that_pushes_may_stand_elsewhere_or_nowhere() -> None:
    assert registry_place("nacos://a,b?grpc_port=443").grpc_hosts == (("a", 443), ("b", 443))
    assert registry_place("nacos://a?grpc_port=0").grpc_hosts == ()


def test_rules_stand_in_a_data_id() -> None:
    place, data_id = rules_place("nacos://a/rules.yaml?group=g")
    assert (place.group, data_id) == ("g", "rules.yaml")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nacos://a?grpc_port=many", "is no port"),
        ("nacos://a?grpc_port=65536", "is no port"),
        ("nacos://a?grup=g", "did you mean group"),
        ("nacos://a/b", "has no path"),
        ("nacos://a?register=never", "register=heartbeat or register=connection"),
        ("nacos://", "names no host"),
    ],
)
def test_a_wrong_registry_is_refused_with_the_mend(url: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        registry_place(url)


@pytest.mark.parametrize("url", ["nacos://a", "nacos://a/", "nacos://a/b/c"])
def test_rules_without_a_data_id_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="names no data id"):
        rules_place(url)
