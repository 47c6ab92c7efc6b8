"""Instances in Kubernetes, on a real API server with RBAC; what controllers would do is written through its API."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from certificates import certificates
from real_kubernetes import ADMIN, STRANGER, Kubernetes, endpoint, shared
from waiting import eventually

import graymw
from graymw import bootstrap
from graymw.core.instances import Instance
from graymw.errors import GrayUnavailableError, SettingsError, SourceError
from graymw.registries.choosing import registry_for
from graymw.registries.kubernetes.source import KubernetesServices
from graymw.remote.kubernetes.client import ENDPOINT_SLICES, Event, KubernetesClient, Listed, Put
from graymw.remote.kubernetes.server import ApiServer
from graymw.runtime.ports import Registry
from graymw.settings.access import Access
from graymw.settings.schema import Settings

DOCS: Final = Path(__file__).parents[2] / "docs" / "routing" / "kubernetes.md"
PATHS: Final = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}
DEADLINE: Final = 10.0

Found = Mapping[str, tuple[Instance, ...]]


@pytest.fixture
def kubernetes() -> Kubernetes:
    return shared()


@pytest.fixture
def shop(kubernetes: Kubernetes) -> str:
    """A namespace of the test's own."""
    return kubernetes.namespace("shop")


def documented(kind: str) -> list[dict[str, Any]]:
    """Objects of a kind in the documentation."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return [found for block in blocks for found in yaml.safe_load_all(block) if found["kind"] == kind]


def apply(kubernetes: Kubernetes, namespace: str, found: dict[str, Any]) -> None:
    """Put an object of the documentation, which is about the namespace ``shop``, into another one."""
    moved = yaml.safe_load(yaml.safe_dump(found).replace("namespace: shop", f"namespace: {namespace}"))
    kubernetes.apply(PATHS[found["kind"]].format(namespace=namespace), moved)


@pytest.fixture
def account(kubernetes: Kubernetes, shop: str, tmp_path: Path) -> Path:
    """Folder of the documentation's service account, as a kubelet mounts it; its rights are the test's business."""
    for found in documented("ServiceAccount"):
        apply(kubernetes, shop, found)
    (tmp_path / "token").write_text(kubernetes.service_account_token(shop, "orders"))
    (tmp_path / "namespace").write_text(shop)
    (tmp_path / "ca.crt").write_bytes(kubernetes.ca.read_bytes())
    return tmp_path


def in_pod(kubernetes: Kubernetes, account: Path, url: str = "kubernetes://") -> KubernetesServices:
    """The registry as a pod has it."""
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(kubernetes.port)}
    return KubernetesServices(url, Access(), environ=environ, account=account)


def as_admin(kubernetes: Kubernetes, rest: str, **access: Any) -> KubernetesServices:
    """The registry with every right."""
    told = {"ca": str(kubernetes.ca), "token": ADMIN, **access}
    return KubernetesServices(f"kubernetes://127.0.0.1:{kubernetes.port}/{rest}", Access(**told))


async def until(found: AsyncIterator[Found], name: str, versions: Mapping[str, str]) -> tuple[Instance, ...]:
    """Read on until a service has these versions by address."""
    async with asyncio.timeout(DEADLINE):
        async for services in found:
            instances = services.get(name, ())
            if {instance.host: instance.version for instance in instances} == versions:
                return instances
    raise AssertionError("the watch has ended")


def once(source: KubernetesServices) -> Found:
    """What a registry tells first."""

    async def run() -> Found:
        async with aclosing(source.watch_all()) as found:
            return await asyncio.wait_for(anext(found), DEADLINE)

    return asyncio.run(run())


def is_let_in(source: KubernetesServices) -> bool:
    """Whether the API server has noticed what was bound."""
    try:
        once(source)
    except SourceError:
        return False
    return True


def put_pod_and_slice(kubernetes: Kubernetes, namespace: str, address: str, version: str) -> None:
    """One pod of ``orders`` and its endpoint."""
    name = f"orders-{address.replace('.', '-')}"
    uid = kubernetes.put_pod(namespace, name, {"version": version})
    kubernetes.put_slice(namespace, name, "orders", [endpoint(address, namespace=namespace, pod=name, uid=uid)])


def test_the_documented_rights_are_enough_and_needed(kubernetes: Kubernetes, shop: str, account: Path) -> None:
    put_pod_and_slice(kubernetes, shop, "10.1.0.1", "v1")
    with pytest.raises(SourceError, match=f"grant get, list and watch on .* in namespace {shop}"):
        once(in_pod(kubernetes, account))
    for kind in ("Role", "RoleBinding"):
        for found in documented(kind):
            apply(kubernetes, shop, found)
    eventually(lambda: is_let_in(in_pod(kubernetes, account)), DEADLINE)
    assert once(in_pod(kubernetes, account))["orders"][0].version == "v1"


def test_without_the_right_to_read_pods_versions_come_by_services(
    kubernetes: Kubernetes, shop: str, account: Path
) -> None:
    (role,) = documented("Role")
    apply(kubernetes, shop, {**role, "rules": [rule for rule in role["rules"] if "pods" not in rule["resources"]]})
    for found in documented("RoleBinding"):
        apply(kubernetes, shop, found)
    labels = documented("Service")[-1]["metadata"]["labels"]
    kubernetes.put_slice(shop, "orders-v2-x", "orders-v2", [endpoint("10.1.0.2")], labels=labels)
    eventually(lambda: is_let_in(in_pod(kubernetes, account, "kubernetes://?versions=service")), DEADLINE)
    (instance,) = once(in_pod(kubernetes, account, "kubernetes://?versions=service"))["orders"]
    assert (instance.host, instance.version) == ("10.1.0.2", "v2")
    with pytest.raises(SourceError, match="does not let us read pods"):
        once(in_pod(kubernetes, account))


def test_all_namespaces_take_the_documented_cluster_role(kubernetes: Kubernetes, shop: str, account: Path) -> None:
    put_pod_and_slice(kubernetes, kubernetes.namespace("billing"), "10.1.0.3", "v1")
    with pytest.raises(SourceError, match=r"in all namespaces \(a ClusterRole\)"):
        once(in_pod(kubernetes, account, "kubernetes:///*"))
    roles = [found for kind in ("ClusterRole", "ClusterRoleBinding") for found in documented(kind)]
    try:
        for found in roles:
            apply(kubernetes, shop, found)
        eventually(lambda: is_let_in(in_pod(kubernetes, account, "kubernetes:///*")), DEADLINE)
        found_names = set(once(in_pod(kubernetes, account, "kubernetes:///*")))
    finally:
        for found in roles:
            kubernetes.delete(f"{PATHS[found['kind']]}/{found['metadata']['name']}")
    assert any(re.fullmatch(r"orders\.billing-\w+\.svc", name) for name in found_names)


def test_the_documented_deployment_is_one(kubernetes: Kubernetes, shop: str) -> None:
    for kind in ("Service", "Deployment"):
        assert documented(kind)
        for found in documented(kind):
            apply(kubernetes, shop, found)


def test_without_the_right_to_read_services_those_of_one_port_are_known(
    kubernetes: Kubernetes, shop: str, account: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (role,) = documented("Role")
    apply(kubernetes, shop, {**role, "rules": [rule for rule in role["rules"] if "services" not in rule["resources"]]})
    for found in documented("RoleBinding"):
        apply(kubernetes, shop, found)
    put_pod_and_slice(kubernetes, shop, "10.1.0.1", "v1")
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "admin", "port": 8081, "protocol": "TCP"}]
    kubernetes.put_slice(shop, "search-x", "search", [endpoint("10.1.0.2")], ports=ports)
    eventually(lambda: is_let_in(in_pod(kubernetes, account)), DEADLINE)
    assert {name for name in once(in_pod(kubernetes, account)) if "." not in name} == {"orders"}
    assert "calls to Services with several ports go as addressed" in caplog.text


def test_a_replaced_token_is_used_from_then_on(kubernetes: Kubernetes, shop: str, account: Path) -> None:
    for kind in ("Role", "RoleBinding"):
        for found in documented(kind):
            apply(kubernetes, shop, found)
    eventually(lambda: is_let_in(in_pod(kubernetes, account)), DEADLINE)
    source = in_pod(kubernetes, account)
    (account / "token").write_text("run-out")
    with pytest.raises(SourceError, match="does not accept who we are"):
        once(source)
    (account / "token").write_text(kubernetes.service_account_token(shop, "orders"))
    assert once(source) == {}


def test_a_client_certificate_says_who_we_are(kubernetes: Kubernetes, shop: str) -> None:
    """The tests' certificate is of the user ``gray``, whom the authority of the server vouches for."""
    own = {"cert": str(kubernetes.ca.with_name("cert.pem")), "key": str(kubernetes.ca.with_name("key.pem"))}
    with pytest.raises(SourceError, match="does not let us read"):
        once(as_admin(kubernetes, shop, token="", **own))
    for found in documented("Role"):
        apply(kubernetes, shop, found)
    (binding,) = documented("RoleBinding")
    subject = {"kind": "User", "name": "gray", "apiGroup": "rbac.authorization.k8s.io"}
    apply(kubernetes, shop, {**binding, "subjects": [subject]})
    eventually(lambda: is_let_in(as_admin(kubernetes, shop, token="", **own)), DEADLINE)


def test_who_is_not_known_or_not_allowed_is_told_so(kubernetes: Kubernetes, shop: str) -> None:
    with pytest.raises(SourceError, match="does not accept who we are") as refused:
        once(as_admin(kubernetes, shop, token="made-up"))
    assert "made-up" not in str(refused.value)
    with pytest.raises(SourceError, match="does not let us read"):
        once(as_admin(kubernetes, shop, token=STRANGER))


def test_a_server_of_another_authority_is_not_trusted(kubernetes: Kubernetes, shop: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
        once(as_admin(kubernetes, shop, ca=str(certificates(tmp_path).ca)))


def test_a_rollout_is_seen_step_by_step(kubernetes: Kubernetes, shop: str) -> None:
    """What controllers do in a rolling update: the new pod comes unready, gets ready, the old one ends."""

    def slice_of(**ready: bool | None) -> None:
        endpoints = [
            endpoint(address, namespace=shop, pod=name, uid=uids[name], zone="eu-1", ready=ready[name],
                     serving=ready[name] is not False, terminating=ready[name] is None)
            for name, address in (("old", "10.1.0.1"), ("new", "10.1.0.2")) if name in ready
        ]  # fmt: skip
        kubernetes.put_slice(shop, "orders-x", "orders", endpoints)

    uids = {"old": kubernetes.put_pod(shop, "old", {"version": "v1"}, {"graymw.io/weight": "3"})}
    slice_of(old=True)

    async def run() -> None:
        async with aclosing(as_admin(kubernetes, shop).watch_all()) as found:
            (instance,) = await until(found, "orders", {"10.1.0.1": "v1"})
            assert (instance.weight, instance.zone, instance.metadata["pod"]) == (3, "eu-1", "old")
            uids["new"] = await asyncio.to_thread(kubernetes.put_pod, shop, "new", {"version": "v2"})
            await asyncio.to_thread(lambda: slice_of(old=True, new=False))
            await asyncio.to_thread(lambda: slice_of(old=True, new=True))
            await until(found, "orders", {"10.1.0.1": "v1", "10.1.0.2": "v2"})
            await asyncio.to_thread(lambda: slice_of(old=False, new=True))
            await until(found, "orders", {"10.1.0.2": "v2"})
            await asyncio.to_thread(kubernetes.put_pod, shop, "new", {"version": "v3"})
            await until(found, "orders", {"10.1.0.2": "v3"})
            await asyncio.to_thread(kubernetes.delete_slice, shop, "orders-x")
            await until(found, "orders", {})

    asyncio.run(run())


def test_a_dual_stack_service(kubernetes: Kubernetes, shop: str) -> None:
    uid = kubernetes.put_pod(shop, "a", {"version": "v1"})
    ports = [{"name": "grpc", "port": 9090, "protocol": "TCP"}, {"name": "http", "port": 8080, "protocol": "TCP"}]
    for family, address in (("IPv4", "10.1.0.1"), ("IPv6", "fd00:1::1")):
        of_pod = endpoint(address, namespace=shop, pod="a", uid=uid)
        kubernetes.put_slice(shop, f"orders-{family.lower()}", "orders", [of_pod], family=family, ports=ports)
    chosen = once(as_admin(kubernetes, f"{shop}?port=http"))["orders"]
    assert [one.authority for one in chosen] == ["10.1.0.1:8080"]
    chosen = once(as_admin(kubernetes, f"{shop}?family=ipv6&port=grpc"))["orders"]
    assert [one.authority for one in chosen] == ["[fd00:1::1]:9090"]


def test_a_selector_leaves_services_out(kubernetes: Kubernetes, shop: str) -> None:
    kubernetes.put_slice(shop, "a", "orders", [endpoint("10.1.0.1")], labels={"graymw": "on"})
    kubernetes.put_slice(shop, "b", "search", [endpoint("10.1.0.2")])
    assert "search" not in once(as_admin(kubernetes, f"{shop}?selector=graymw=on"))
    assert {"orders", "search"} <= once(as_admin(kubernetes, shop)).keys()


def test_more_pods_than_fit_a_page(kubernetes: Kubernetes, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graymw.remote.kubernetes.client.PAGE", 7)
    expected = {}
    for number in range(1, 21):
        expected[f"10.1.0.{number}"] = f"v{number % 3}"
        put_pod_and_slice(kubernetes, shop, f"10.1.0.{number}", f"v{number % 3}")
    found = once(as_admin(kubernetes, shop))["orders"]
    assert {instance.host: instance.version for instance in found} == expected


async def followed(
    client: KubernetesClient, namespace: str, wanted: int, then: Callable[[int], None] | None = None
) -> list[Event]:
    """So many events of the slices of a namespace; after each but the last something is done."""
    events: list[Event] = []
    doing: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(30), aclosing(client.follow(ENDPOINT_SLICES, namespace)) as following:
            async for event in following:
                events.append(event)
                if len(events) == wanted:
                    return events
                if then is not None:
                    doing.append(asyncio.create_task(asyncio.to_thread(then, len(events))))
    finally:
        await asyncio.gather(*doing)
        await client.close()
    raise AssertionError("the watch has ended")


class Counting(KubernetesClient):
    """Counts what it asks for."""

    requests = 0

    def _headers(self, *arguments: Any) -> dict[str, str]:
        self.requests += 1
        return super()._headers(*arguments)


def test_a_watch_that_the_server_ends_goes_on_without_a_list(kubernetes: Kubernetes, shop: str) -> None:
    client = Counting(ApiServer(kubernetes.url, Access(ca=str(kubernetes.ca), token=ADMIN)), watch_seconds=(1, 1))

    def change(number: int) -> None:
        asked = client.requests
        eventually(lambda: client.requests > asked, DEADLINE)
        kubernetes.put_slice(shop, "a", "orders", [endpoint(f"10.1.0.{number}")])

    events = asyncio.run(followed(client, shop, 4, change))
    assert [type(event) for event in events] == [Listed, Put, Put, Put]
    assert client.requests > 3


class Forgetful(KubernetesClient):
    """Watches from the beginning of time at first, which the server has long forgotten."""

    lists = 0

    async def _list(self, *arguments: Any) -> tuple[tuple[Any, ...], str]:
        self.lists += 1
        objects, version = await super()._list(*arguments)
        return objects, "1" if self.lists == 1 else version


def test_after_an_expired_version_all_is_listed_anew(kubernetes: Kubernetes, shop: str) -> None:
    kubernetes.put_slice(shop, "a", "orders", [endpoint("10.1.0.1")])
    kubernetes.restart()  # what the server has seen since its start it still knows
    client = Forgetful(ApiServer(kubernetes.url, Access(ca=str(kubernetes.ca), token=ADMIN)))
    events = asyncio.run(followed(client, shop, 2))
    assert [type(event) for event in events] == [Listed, Listed]
    assert client.lists == 2


@pytest.fixture
def registry(kubernetes: Kubernetes, shop: str) -> Iterator[Registry]:
    """As an application has it."""
    made = registry_for(settings(kubernetes, shop))
    made.start()
    yield made
    made.stop()


def settings(kubernetes: Kubernetes, shop: str, **more: Any) -> Settings:
    url = f"kubernetes://127.0.0.1:{kubernetes.port}/{shop}"
    access = {"registry_ca": str(kubernetes.ca), "registry_token": ADMIN}
    return Settings.from_mapping({"registry": url, **access, **more}, environ={})


def test_what_is_scaled_to_nothing_is_not_called_any_more(
    kubernetes: Kubernetes, shop: str, registry: Registry
) -> None:
    for number in (1, 2, 3):
        put_pod_and_slice(kubernetes, shop, f"10.1.0.{number}", "v1")
    eventually(lambda: len(registry.instances("orders") or ()) == 3, DEADLINE)
    for number in (1, 2, 3):
        kubernetes.delete_slice(shop, f"orders-10-1-0-{number}")
    eventually(lambda: registry.instances("orders") == (), DEADLINE)


def test_nothing_registers_itself_in_kubernetes(kubernetes: Kubernetes, shop: str) -> None:
    with pytest.raises(SettingsError, match="Kubernetes knows its pods without being told; unset GRAYMW_REGISTER"):
        bootstrap.engine_for(settings(kubernetes, shop, register=True))


class Version(ThreadingHTTPServer):
    """A server that answers with its version, and with the host it was called by."""

    def __init__(self, version: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = f"{version} {self.headers['host']}".encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


def test_calls_by_every_name_get_to_the_decided_version(kubernetes: Kubernetes, shop: str) -> None:
    names = ("orders", f"orders.{shop}", f"orders.{shop}.svc", f"orders.{shop}.svc.cluster.local")
    with Version("v1") as stable, Version("v2") as gray, httpx.Client(transport=graymw.GrayTransport()) as client:
        for server, version in ((stable, "v1"), (gray, "v2")):
            uid = kubernetes.put_pod(shop, version, {"version": version})
            # The API takes no loopback address, but one that is written as a domain name.
            here = endpoint("127.0.0.1", namespace=shop, pod=version, uid=uid)
            ports = [{"name": "http", "port": server.server_port, "protocol": "TCP"}]
            kubernetes.put_slice(shop, f"orders-{version}", "orders", [here], ports=ports, family="FQDN")
        engine = bootstrap.engine_for(settings(kubernetes, shop, gray_ratio="0%"))
        eventually(lambda: engine.directory.table("orders"), DEADLINE)
        for name in names:
            told = {client.get(f"http://{name}/").text for _ in range(8)}
            assert told == {f"v1 {name}"}
            with graymw.use("default", "v2"):
                assert client.get(f"http://{name}/").text == f"v2 {name}"


def test_of_a_service_with_several_ports_the_port_of_the_call_counts(kubernetes: Kubernetes, shop: str) -> None:
    apply_service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "orders"},
        "spec": {
            "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 8080}],
            "selector": {"app": "orders"},
        },
    }
    kubernetes.apply(PATHS["Service"].format(namespace=shop), apply_service)
    with Version("http") as web, Version("admin") as admin, httpx.Client(transport=graymw.GrayTransport()) as client:
        uid = kubernetes.put_pod(shop, "a", {"version": "v1"})
        ports = [
            {"name": name, "port": server.server_port, "protocol": "TCP"}
            for name, server in (("http", web), ("admin", admin))
        ]
        here = endpoint("127.0.0.1", namespace=shop, pod="a", uid=uid)
        kubernetes.put_slice(shop, "orders-a", "orders", [here], ports=ports, family="FQDN")
        engine = bootstrap.engine_for(settings(kubernetes, shop, gray_ratio="0%"))
        eventually(lambda: engine.directory.table("orders:80"), DEADLINE)
        assert client.get("http://orders/").text == "http orders"
        assert client.get(f"http://orders.{shop}:80/").text.startswith("http ")
        assert client.get("http://orders:8080/").text == "admin orders:8080"
        with pytest.raises(httpx.ConnectError):  # as addressed, and nobody has that name here
            client.get("http://orders:7/")


def test_undecided_traffic_is_refused_rather_than_sent_to_a_gray_pod(kubernetes: Kubernetes, shop: str) -> None:
    put_pod_and_slice(kubernetes, shop, "10.1.0.1", "v2")
    engine = bootstrap.engine_for(settings(kubernetes, shop, gray_ratio="0%"))
    eventually(lambda: engine.directory.table("orders"), DEADLINE)
    with pytest.raises(GrayUnavailableError):
        engine.directory.choose(engine.snapshot.document, "orders", graymw.current())
