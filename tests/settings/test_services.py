from __future__ import annotations

import pytest

from graymw.core.instances import Instance
from graymw.settings.services import services
from graymw.settings.values import RefusedError


def faults(value: object) -> dict[str, str]:
    with pytest.raises(RefusedError) as refused:
        services(value)
    return {fault.where: fault.message for fault in refused.value.faults}


def test_a_table() -> None:
    table = services(
        {
            "orders": [
                {"url": "http://127.0.0.1:8001", "version": "v1", "weight": 3, "zone": "a"},
                {"url": "https://orders.internal", "version": "1.10", "metadata": {"rack": "r7"}},
            ],
            "payments": [],
        }
    )
    assert table["orders"] == (
        Instance("orders", "127.0.0.1", 8001, "v1", weight=3, zone="a"),
        Instance("orders", "orders.internal", 443, "1.10", tls=True, metadata={"rack": "r7"}),
    )
    assert table["payments"] == ()


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("http://h", "h", 80, False),
        ("https://h/", "h", 443, True),
        ("http://[::1]:81", "::1", 81, False),
        ("grpc://h:50051", "h", 50051, False),
        ("grpcs://h", "h", 443, True),
    ],
)
def test_addresses(url: str, host: str, port: int, tls: bool) -> None:
    (instance,) = services({"s": [{"url": url}]})["s"]
    assert (instance.host, instance.port, instance.tls) == (host, port, tls)


def test_an_instance_of_no_told_version() -> None:
    (instance,) = services({"s": [{"url": "http://h", "version": None}]})["s"]
    assert instance.version == ""


def test_json_text_as_a_variable_holds_it() -> None:
    assert services('{"s": [{"url": "http://h:1", "version": "v1"}]}') == services(
        {"s": [{"url": "http://h:1", "version": "v1"}]}
    )


def test_toml_text_and_text_of_one_service() -> None:
    expected = services({"s": [{"url": "http://h:1"}]})
    assert services('{s = [{url = "http://h:1"}]}') == expected
    assert services({"s": '[{"url": "http://h:1"}]'}) == expected


def test_every_fault_is_told_with_its_place() -> None:
    assert faults(
        {
            "a": [{"urll": "http://h"}, {"url": "http://h", "version": 1.1, "weight": -1}],
            "b": {"url": "http://h"},
            "c": ["http://h"],
            "d": "no json",
            "": [],
        }
    ).keys() == {
        ".a[0].url", ".a[0].urll", ".a[1].version", ".a[1].weight", ".b", ".c[0]", ".d", "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    ["", "h:80", "ftp://h", "http://", "http://u:p@h", "http://h/path", "http://h?q=1", "http://h:99999", "grpc://h", 7,
     "http://[::1", None],
)  # fmt: skip
def test_what_is_no_address(url: object) -> None:
    assert faults({"s": [{"url": url}]}).keys() == {".s[0].url"}


@pytest.mark.parametrize("weight", ["x", -1, 10_001, 1.5, True, "²"])
def test_what_is_no_weight(weight: object) -> None:
    assert faults({"s": [{"url": "http://h", "weight": weight}]}).keys() == {".s[0].weight"}


@pytest.mark.parametrize("value", ["nonsense", "[]", "3", 3, ["a"], "[" * 100_000])
def test_what_is_no_table(value: object) -> None:
    assert faults(value)


@pytest.mark.parametrize("value", ["http://h", {"url": "http://h"}, "3"])
def test_what_is_no_list_of_instances_is_told_by_what_to_write_for_the_service(value: object) -> None:
    with pytest.raises(RefusedError) as refused:
        services({"s": value})
    (fault,) = refused.value.faults
    assert (fault.where, fault.message) == (".s", "the instances are no list")
    assert fault.mend == 'write [{"url": "http://127.0.0.1:8001", "version": "v1"}]'


def test_a_misspelt_key_is_guessed() -> None:
    with pytest.raises(RefusedError) as refused:
        services({"s": [{"url": "http://h", "verson": "v1"}]})
    assert refused.value.faults[0].mend == "did you mean version?"
