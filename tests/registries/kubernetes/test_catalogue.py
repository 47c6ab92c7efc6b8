from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.registries.kubernetes.service_names import NamePattern
from graymw.remote.kubernetes.client import Listed

from .cluster import HTTP, Cluster, endpoint, pod, service, slice_of

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_version_is_the_label_of_the_pod(cluster: Cluster) -> None:
    cluster.put(
        pod("a", {"version": "v1"}), pod("b", {"app.kubernetes.io/version": "1.10"}), pod("c", {"app": "orders"})
    )
    cluster.put(slice_of("orders", endpoint(A, "a"), endpoint(B, "b"), endpoint(C, "c")))
    assert cluster.versions() == {A: "v1", B: "1.10", C: ""}


def test_the_label_of_ours_comes_before_the_common_ones(cluster: Cluster) -> None:
    labels = {"app.kubernetes.io/version": "7", "version": "6", "graymw.io/version": "v2"}
    cluster.put(pod("a", labels), slice_of("orders", endpoint(A, "a")))
    assert cluster.versions() == {A: "v2"}


def test_another_label_takes_the_place_of_all_of_them() -> None:
    cluster = Cluster(version_labels=("rollouts-pod-template-hash",))
    cluster.put(pod("a", {"version": "v1", "rollouts-pod-template-hash": "6f9d"}), slice_of("orders", endpoint(A, "a")))
    assert cluster.versions() == {A: "6f9d"}


def test_weight_zone_and_gray_are_annotations_or_labels_of_the_pod(cluster: Cluster) -> None:
    cluster.put(pod("a", {"graymw.io/gray": "true"}, {"graymw.io/weight": "7", "graymw.io/rack": "r1", "other": "x"}))
    cluster.put(slice_of("orders", endpoint(A, "a", zone="eu-1")))
    (instance,) = cluster.instances()
    assert (instance.weight, instance.zone, instance.gray) == (7, "eu-1", True)
    assert instance.metadata == {"namespace": "shop", "pod": "a", "rack": "r1"}


def test_a_service_is_known_by_every_name_of_cluster_dns(cluster: Cluster) -> None:
    cluster.put(slice_of("orders", endpoint(A)), slice_of("search", endpoint(B), namespace="other"))
    named = cluster.catalogue.services()
    assert set(named) == {
        "orders", "orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local",
        "search.other", "search.other.svc", "search.other.svc.cluster.local",
    }  # fmt: skip
    assert named["orders"] is named["orders.shop.svc.cluster.local"]
    assert {instance.service for instance in named["search.other"]} == {"search"}


def test_an_endpoint_is_withheld_until_its_pod_is_seen_since_it_may_be_gray(cluster: Cluster) -> None:
    cluster.put(pod("a", {"version": "v1"}), slice_of("orders", endpoint(A, "a"), endpoint(B, "b")))
    assert cluster.versions() == {A: "v1"}
    cluster.put(pod("b", {"version": "v2"}))
    assert cluster.versions() == {A: "v1", B: "v2"}
    cluster.remove(pod("a"))
    assert cluster.versions() == {B: "v2"}


def test_a_new_pod_of_an_old_name_does_not_lend_its_version_to_the_old_address(cluster: Cluster) -> None:
    """A StatefulSet's ``orders-0`` comes back under its name, and the slice still has the address of the one before."""
    cluster.put(pod("orders-0", {"version": "v1"}, uid="first"))
    cluster.put(slice_of("orders", endpoint(A, "orders-0", uid="first")))
    cluster.put(pod("orders-0", {"version": "v2"}, uid="second"))
    assert cluster.versions() == {}
    cluster.put(slice_of("orders", endpoint(B, "orders-0", uid="second")))
    assert cluster.versions() == {B: "v2"}


def test_endpoints_without_a_pod_have_the_version_that_the_slice_tells(cluster: Cluster) -> None:
    cluster.put(slice_of("orders", endpoint(A), version="v1", weight="3"))
    (instance,) = cluster.instances()
    assert (instance.version, instance.weight) == ("v1", 3)


@pytest.mark.parametrize(
    ("conditions", "takes_calls"),
    [
        ({}, True),
        ({"ready": None}, True),
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
    ],
)
def test_only_ready_endpoints_take_calls(conditions: dict[str, Any], takes_calls: bool) -> None:
    cluster = Cluster()
    cluster.put(slice_of("orders", endpoint(A), endpoint(B, **conditions)))
    assert (B in cluster.versions()) is takes_calls


def test_while_none_is_ready_those_that_serve_until_they_end_go_on(cluster: Cluster) -> None:
    ending = endpoint(A, ready=False, serving=True, terminating=True)
    failed = endpoint(B, ready=False, serving=False, terminating=True)
    cluster.put(slice_of("orders", ending, failed))
    assert set(cluster.versions()) == {A}


def test_a_service_without_endpoints_is_known_and_empty(cluster: Cluster) -> None:
    cluster.put(slice_of("orders", ports=None))
    assert cluster.instances() == ()


def test_a_service_whose_slices_are_gone_is_not_known(cluster: Cluster) -> None:
    cluster.put(slice_of("orders", endpoint(A)))
    assert cluster.instances()
    cluster.remove(slice_of("orders"))
    assert cluster.catalogue.services() == {}


@pytest.mark.parametrize(("family", "wanted"), [("IPv4", A), ("IPv6", "fd00::1")])
def test_a_pod_of_both_address_families_is_one_instance(family: str, wanted: str) -> None:
    cluster = Cluster(family=family)
    cluster.put(pod("a", {"version": "v1"}), slice_of("orders", endpoint(A, "a")))
    cluster.put(slice_of("orders", endpoint("fd00::1", "a"), family="IPv6"))
    (instance,) = cluster.instances()
    assert instance.host == wanted


def test_a_pod_of_the_other_family_alone_counts(cluster: Cluster) -> None:
    cluster.put(pod("a"), pod("b"), slice_of("orders", endpoint(A, "a")))
    cluster.put(slice_of("orders", endpoint("fd00::1", "a"), endpoint("fd00::2", "b"), family="IPv6"))
    assert [instance.authority for instance in cluster.instances()] == [f"{A}:8080", "[fd00::2]:8080"]


def test_slices_of_one_service_are_taken_together(cluster: Cluster) -> None:
    cluster.put(slice_of("orders", endpoint(A), name="orders-1"), slice_of("orders", endpoint(B), name="orders-2"))
    assert set(cluster.versions()) == {A, B}


def test_a_new_list_takes_the_place_of_all_that_was_known(cluster: Cluster) -> None:
    cluster.put(slice_of("orders", endpoint(A)), slice_of("search", endpoint(B)))
    cluster.catalogue.take_slices(Listed((slice_of("orders", endpoint(C)),)), "shop")
    assert set(cluster.catalogue.services()) == {
        "orders", "orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local",
    }  # fmt: skip
    assert set(cluster.versions()) == {C}


def test_a_new_list_of_one_namespace_leaves_the_others_alone(cluster: Cluster) -> None:
    cluster.put(slice_of("orders", endpoint(A)), slice_of("search", endpoint(B), namespace="other"))
    cluster.catalogue.take_slices(Listed(()), "shop")
    assert "search.other" in cluster.catalogue.services()
    assert "orders" not in cluster.catalogue.services()


def test_what_does_not_matter_changes_nothing(cluster: Cluster) -> None:
    cluster.put(pod("a", {"version": "v1"}), slice_of("orders", endpoint(A, "a")))
    before = cluster.catalogue.services()
    cluster.put(pod("a", {"version": "v1", "team": "x"}), pod("stranger"), slice_of("orders", endpoint(A, "a")))
    assert cluster.catalogue.services() is before


def test_the_instances_of_a_service_that_has_not_changed_are_the_same_object(cluster: Cluster) -> None:
    cluster.put(slice_of("orders", endpoint(A)), slice_of("search", endpoint(B)))
    before = cluster.instances("search")
    cluster.put(slice_of("orders", endpoint(C)))
    assert cluster.versions() == {C: ""}
    assert cluster.instances("search") is before


def test_the_api_server_itself_is_left_alone(cluster: Cluster) -> None:
    cluster.put(slice_of("kubernetes", endpoint(A), namespace="default"))
    assert cluster.catalogue.services() == {}


def test_slices_of_no_service_are_left_alone(cluster: Cluster) -> None:
    stray = slice_of("orders", endpoint(A))
    stray["metadata"]["labels"] = None
    cluster.put(stray)
    assert cluster.catalogue.services() == {}


@pytest.mark.parametrize("part", ["endpoints", "ports"])
def test_an_object_that_cannot_be_understood_is_left_out(cluster: Cluster, part: str) -> None:
    cluster.put(slice_of("search", endpoint(B)), {**slice_of("orders", endpoint(A)), part: 7})
    assert set(cluster.versions("search")) == {B}
    assert "orders" not in cluster.catalogue.services()


class TestOneServiceForEachVersion:
    """``?versions=service``: no right to read pods is needed."""

    @pytest.fixture
    def cluster(self) -> Cluster:
        return Cluster(versions="service", version_labels=("graymw.io/version",))

    def test_labels_of_the_services_tell_what_belongs_together(self, cluster: Cluster) -> None:
        cluster.put(slice_of("orders-a", endpoint(A, "a"), service="orders", version="v1"))
        cluster.put(slice_of("orders-b", endpoint(B, "b"), service="orders", version="v2"))
        assert cluster.versions() == {A: "v1", B: "v2"}

    def test_the_names_of_the_parts_are_not_known_so_calls_to_them_go_as_addressed(self, cluster: Cluster) -> None:
        cluster.put(slice_of("orders-b", endpoint(B), service="orders", version="v2"))
        assert "orders-b" not in cluster.catalogue.services()

    def test_a_service_over_all_versions_beside_them_does_not_count(self, cluster: Cluster) -> None:
        """Its endpoints are the same pods without a version, which would bring stable traffic to gray ones."""
        cluster.put(slice_of("orders", endpoint(A, "a"), endpoint(B, "b"), endpoint(C, "c")))
        assert set(cluster.versions()) == {A, B, C}
        cluster.put(slice_of("orders-v2", endpoint(B, "b"), service="orders", version="v2"))
        assert cluster.versions() == {B: "v2"}

    def test_the_service_that_callers_name_may_be_the_one_of_the_stable_version(self, cluster: Cluster) -> None:
        cluster.put(slice_of("orders", endpoint(A), version="v1"))
        cluster.put(slice_of("orders-v2", endpoint(B), service="orders", version="v2"))
        assert cluster.versions() == {A: "v1", B: "v2"}

    def test_names_tell_where_a_pattern_says_how(self) -> None:
        cluster = Cluster(
            versions="service", version_labels=("graymw.io/version",), service_name=NamePattern("{service}-{version}")
        )
        cluster.put(slice_of("orders-v1", endpoint(A)), slice_of("orders-v2", endpoint(B)))
        cluster.put(slice_of("orders-canary", endpoint(C), service="orders", version="v3"))
        cluster.put(slice_of("payment-api", endpoint(A)))
        assert cluster.versions() == {A: "v1", B: "v2", C: "v3"}
        assert cluster.versions("payment-api") == {A: ""}

    def test_each_of_the_services_keeps_its_last_serving_endpoints(self, cluster: Cluster) -> None:
        ending = endpoint(B, ready=False, serving=True, terminating=True)
        cluster.put(slice_of("orders-v1", endpoint(A), service="orders", version="v1"))
        cluster.put(slice_of("orders-v2", ending, service="orders", version="v2"))
        assert cluster.versions() == {A: "v1", B: "v2"}


GRPC = {"name": "grpc", "port": 9090, "protocol": "TCP"}
METRICS = {"name": "metrics", "port": 9100}


class TestPorts:
    def port(self, ports: list[dict[str, Any]], wanted: str = "", **labels: str) -> int | None:
        cluster = Cluster(port=wanted)
        cluster.put(slice_of("orders", endpoint(A), ports=ports, **labels))
        found = cluster.catalogue.services().get("orders")
        return found[0].port if found else None

    def test_the_only_port_is_taken_whatever_its_name(self) -> None:
        assert self.port([METRICS]) == 9100

    def test_the_setting_chooses_by_name_or_number(self) -> None:
        assert self.port([HTTP, GRPC], "grpc") == 9090
        assert self.port([HTTP, GRPC], "9090") == 9090

    def test_the_label_of_the_service_chooses_before_the_setting(self) -> None:
        assert self.port([HTTP, GRPC], "http", port="grpc") == 9090

    def test_a_port_without_a_name_is_the_only_one_and_is_taken(self) -> None:
        assert self.port([{"name": "", "port": 7000}], "http") == 7000

    def test_a_service_without_the_port_that_is_asked_for_is_not_known_and_told_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.port([METRICS, GRPC], "http") is None
        assert self.port([METRICS, GRPC], "http") is None
        (told,) = caplog.messages
        assert "has the ports metrics (9100), grpc (9090), and none is http: calls to it go as addressed" in told

    def test_other_protocols_than_tcp_do_not_count(self) -> None:
        assert self.port([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 54}]) == 54

    @pytest.mark.parametrize(
        ("port", "tls"),
        [
            (HTTP, False),
            ({"name": "https", "port": 8443}, True),
            ({"name": "https-api", "port": 8443}, True),
            ({"name": "main", "port": 8443, "appProtocol": "https"}, True),
        ],
    )
    def test_a_port_that_says_https_speaks_tls(self, port: dict[str, Any], tls: bool) -> None:
        cluster = Cluster()
        cluster.put(slice_of("orders", endpoint(A), ports=[port]))
        assert cluster.instances()[0].tls is tls


class TestSeveralPorts:
    """Which of them a call means tells the Service, whose port numbers callers write."""

    def cluster(self, **options: Any) -> Cluster:
        cluster = Cluster(**options)
        cluster.put(pod("a", {"version": "v1"}), slice_of("orders", endpoint(A, "a"), ports=[HTTP, GRPC, METRICS]))
        return cluster

    def ports(self, cluster: Cluster) -> dict[str, set[int]]:
        named = cluster.catalogue.services()
        return {name: {one.port for one in named[name]} for name in named if "." not in name}

    def test_each_is_known_by_the_number_that_callers_write(self) -> None:
        cluster = self.cluster()
        cluster.put(service("orders", http=80, grpc=8080))
        assert self.ports(cluster) == {"orders:80": {8080}, "orders:8080": {9090}}
        assert "orders.shop.svc.cluster.local:80" in cluster.catalogue.services()

    def test_until_the_service_is_seen_it_is_not_known(self) -> None:
        cluster = self.cluster()
        assert cluster.catalogue.asks_for_services
        assert self.ports(cluster) == {}

    def test_services_of_one_port_need_not_be_seen(self) -> None:
        cluster = Cluster()
        cluster.put(slice_of("orders", endpoint(A), ports=[GRPC]))
        assert not cluster.catalogue.asks_for_services
        assert self.ports(cluster) == {"orders": {9090}}

    def test_a_change_of_the_service_counts(self) -> None:
        cluster = self.cluster()
        cluster.put(service("orders", http=80))
        assert self.ports(cluster) == {"orders:80": {8080}}
        cluster.put(service("orders", http=81))
        assert self.ports(cluster) == {"orders:81": {8080}}
        cluster.remove(service("orders"))
        assert self.ports(cluster) == {}

    def test_a_list_of_services_takes_the_place_of_what_was_known(self) -> None:
        cluster = self.cluster()
        cluster.put(service("orders", http=80))
        cluster.catalogue.take_services(Listed((service("search", http=80),)), "shop")
        assert self.ports(cluster) == {}

    def test_one_that_is_asked_for_is_for_all_calls(self) -> None:
        cluster = self.cluster(port="grpc")
        cluster.put(service("orders", http=80, grpc=8080))
        assert not cluster.catalogue.asks_for_services
        assert self.ports(cluster) == {"orders": {9090}}

    def test_without_endpoints_its_ports_are_known_and_empty(self) -> None:
        cluster = self.cluster()
        cluster.put(service("orders", http=80), slice_of("orders", ports=[HTTP, GRPC]))
        assert self.ports(cluster) == {"orders:80": set()}

    def test_services_of_one_version_each_have_ports_of_their_own(self) -> None:
        cluster = Cluster(versions="service", version_labels=("graymw.io/version",))
        cluster.put(service("orders-v1", http=80), service("orders-v2", web=80))
        cluster.put(slice_of("orders-v1", endpoint(A), ports=[HTTP, METRICS], service="orders", version="v1"))
        web = {**HTTP, "name": "web", "port": 8000}
        cluster.put(slice_of("orders-v2", endpoint(B), ports=[web, METRICS], service="orders", version="v2"))
        assert cluster.versions("orders:80") == {A: "v1", B: "v2"}

    def test_what_has_not_changed_at_one_port_is_the_same_object(self) -> None:
        cluster = self.cluster()
        cluster.put(service("orders", http=80, grpc=9090))
        before = cluster.instances("orders:80")
        cluster.put(service("orders", http=80, grpc=9091))
        assert cluster.instances("orders:80") is before


PODS = st.sampled_from(
    [
        pod(name, {"version": version}, uid=f"{name}{uid}")
        for name in "abc"
        for version in ("v1", "v2")
        for uid in (1, 2)
    ]
)
SLICES = st.builds(
    lambda service, name, endpoints: slice_of(service, *endpoints, name=name),
    st.sampled_from(["orders", "search"]),
    st.sampled_from(["one", "two", "three"]),
    st.lists(
        st.builds(
            lambda address, name, uid, ready: endpoint(
                address, name, uid=f"{name}{uid}", ready=ready, serving=True, terminating=not ready
            ),
            st.sampled_from([A, B, C]),
            st.sampled_from("abc"),
            st.sampled_from((1, 2)),
            st.booleans(),
        ),
        max_size=3,
        unique_by=lambda made: made["addresses"][0],
    ),
)


@given(st.lists(st.tuples(st.booleans(), PODS | SLICES), max_size=25))
def test_however_it_came_about_it_is_as_if_listed_anew(happenings: list[tuple[bool, dict[str, Any]]]) -> None:
    """What is kept up to date event by event is what one look at the whole cluster gives."""
    cluster, fresh = Cluster(), Cluster()
    pods: dict[str, dict[str, Any]] = {}
    slices: dict[str, dict[str, Any]] = {}
    for there, found in happenings:
        name = found["metadata"]["name"]
        kept = slices if "addressType" in found else pods
        if there:
            cluster.put(found)
            kept[name] = found
        else:
            cluster.remove(found)
            kept.pop(name, None)
        cluster.catalogue.services()
    fresh.catalogue.take_slices(Listed(tuple(slices.values())), "shop")
    fresh.catalogue.take_pods(Listed(tuple(pods.values())), "shop")
    assert cluster.catalogue.services() == fresh.catalogue.services()
