from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.instances import Instance
from graymw.registries.etcd_entries import Unreadable, instance_of, key_of, lease_of, service_of, value_of

VERSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)
HOSTS = st.sampled_from(["10.0.0.7", "orders.local", "::1", "2001:db8::1"])
OWN = {"version", "weight", "zone", "gray"}
METADATA = st.dictionaries(
    st.text(min_size=1, max_size=5).filter(lambda key: key not in OWN), st.text(max_size=5), max_size=3
)


@given(
    host=HOSTS,
    port=st.integers(1, 65_535),
    version=VERSIONS | st.just(""),
    weight=st.integers(0, 10_000),
    tls=st.booleans(),
    gray=st.booleans(),
    metadata=METADATA,
)
def test_what_is_written_is_read_back(
    host: str, port: int, version: str, weight: int, tls: bool, gray: bool, metadata: dict[str, str]
) -> None:
    instance = Instance("orders", host, port, version, weight, "a", tls, gray=gray, metadata=metadata)
    assert instance_of("orders", value_of(instance)) == instance


@pytest.mark.parametrize("service", ["orders", "team/orders", "user.rpc"])
def test_a_key_tells_its_service(service: str) -> None:
    key = key_of("graymw/services/", Instance(service, "::1", 8001, "v1"))
    assert key == f"graymw/services/{service}/[::1]:8001"
    assert service_of("graymw/services/", key.encode()) == service


@pytest.mark.parametrize("key", [b"p/orders", b"p/orders/", b"p//x", b"p/", b"p/\xff/x", b"p/two words/x"])
def test_a_key_without_service_or_instance_is_left_out(key: bytes) -> None:
    with pytest.raises(Unreadable):
        service_of("p/", key)


KRATOS = {
    "id": "c0ffee",
    "name": "orders",
    "version": "v2",
    "metadata": {"weight": "3", "zone": "b"},
    "endpoints": ["grpc://10.0.0.7:9000", "http://10.0.0.7:8000"],
}


def test_kratos_tells_version_and_endpoints_of_which_http_is_taken() -> None:
    read = instance_of("orders", json.dumps(KRATOS).encode())
    assert (read.host, read.port, read.version, read.weight, read.zone, read.tls) == (
        "10.0.0.7", 8000, "v2", 3, "b", False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("endpoint", "tls"),
    [("grpc://h:1", False), ("grpcs://h:1", True), ("https://h:1", True), ("grpc://h:1?isSecure=true", True)],
)
def test_kratos_with_one_endpoint(endpoint: str, tls: bool) -> None:
    read = instance_of("orders", json.dumps({**KRATOS, "endpoints": [7, "nonsense", endpoint]}).encode())
    assert (read.host, read.port, read.tls) == ("h", 1, tls)


def test_the_go_clients_naming_resolver() -> None:
    value = {"Op": 0, "Addr": "10.0.0.7:9000", "Metadata": {"version": "v2", "weight": 2}}
    read = instance_of("orders", json.dumps(value).encode())
    assert (read.host, read.port, read.version, read.weight) == ("10.0.0.7", 9000, "v2", 2)


@pytest.mark.parametrize("metadata", [None, "v2", 7, ["v2"]])
def test_metadata_of_another_shape_is_none(metadata: object) -> None:
    read = instance_of("orders", json.dumps({"Addr": "10.0.0.7:9000", "Metadata": metadata}).encode())
    assert (read.version, read.metadata) == ("", {})


@pytest.mark.parametrize(("value", "host"), [(b"10.0.0.7:8080", "10.0.0.7"), (b" [::1]:8080\n", "::1")])
def test_go_zero_writes_the_address_and_nothing_else(value: bytes, host: str) -> None:
    read = instance_of("orders", value)
    assert (read.host, read.port, read.version, read.weight) == (host, 8080, "", 1)


@pytest.mark.parametrize(
    "value",
    [
        b"", b"orders", b":80", b"h:", b"h:0", b"h:65536", b"h:99999999999999999999", "h:\u0664".encode(), b"a b:80",
        b"u@h:80", b"\xff\xfe", b"{", b"{}", b'{"Addr": 7}', b'{"host": "", "port": 80}', b'{"host": "h"}',
        b'{"host": "h", "port": "80"}',
        b'{"host": "h", "port": true}', b'{"host": 7, "port": 80}', b'{"endpoints": []}', b'{"endpoints": "http://h:80"}',
        b'{"endpoints": ["http://h"]}', b'{"endpoints": ["http://[::1"]}', b'{"a":' * 50_000,
    ],
)  # fmt: skip
def test_what_describes_no_instance_is_left_out(value: bytes) -> None:
    with pytest.raises(Unreadable):
        instance_of("orders", value)


@given(value=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_nothing_else_is_raised(value: bytes) -> None:
    with contextlib.suppress(Unreadable):
        instance_of("orders", value)


@given(key=st.text(), seconds=st.integers(1, 100))
def test_a_lease_has_a_number_that_etcd_takes_and_that_is_the_same_in_every_process(key: str, seconds: int) -> None:
    assert 0 < lease_of(key, seconds) < 2**63
    assert lease_of(key, seconds) == lease_of(key, seconds)


def test_the_number_of_a_lease_is_known() -> None:
    assert lease_of("graymw/services/orders/10.0.0.7:8001", 15) == 7_925_122_859_509_898_026
