"""A real Kubernetes API server on loopback, on an etcd of its own, and a hand on its objects from outside.

``tests/servers/kubernetes/build.sh`` builds it. No controller runs beside it, so what Deployments, Services and
kubelets would bring about is written through the API: Pods with labels, EndpointSlices with conditions.
"""

from __future__ import annotations

import atexit
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self
from urllib.parse import urlencode

import pytest
from certificates import certificates
from real_etcd import Etcd, debian_etcd
from real_servers import LOOPBACK, REQUIRED, real_server

from graymw.demo.processes import free_ports

BUILD: Final = Path(__file__).parents[1] / "servers" / "kubernetes" / "build.sh"
ADMIN: Final = "admin-token-of-the-tests"
STRANGER: Final = "stranger-token-of-the-tests"
"""Token of a user whom no role binding names."""

SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
PODS: Final = "/api/v1/namespaces/{namespace}/pods"


def kube_apiserver() -> str:
    """The program: the one of ``KUBE_APISERVER_BINARY``, else the one that was built."""
    named = os.environ.get("KUBE_APISERVER_BINARY")
    if named:
        return named
    cache = os.environ.get("GRAYMW_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "graymw"
    built = sorted(Path(cache).expanduser().glob("kube-apiserver-*/kube-apiserver"))
    if built:
        return str(built[-1])
    reason = (
        f"no kube-apiserver: run {BUILD.relative_to(Path(__file__).parents[2])}, or name it by KUBE_APISERVER_BINARY"
    )
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


class KubernetesError(AssertionError):
    """The API server refused what the test asked of it."""


class Kubernetes:
    """One API server with RBAC, and its store; both keep ports, keys and data through a restart.

    Args:
        folder: Where data, keys and output are kept.
    """

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._program = kube_apiserver()
        self._folder = folder
        self._store_folder = folder / "etcd"
        self._store_folder.mkdir()
        self.store = Etcd(debian_etcd(), self._store_folder)
        self._certificates = certificates(folder, "/CN=gray")
        self.ca = self._certificates.ca
        self._signer = folder / "service-account.key"
        subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self._signer],
            check=True,
            capture_output=True,
        )
        self._tokens = folder / "tokens.csv"
        self._tokens.write_text(f'{ADMIN},admin,1,"system:masters"\n{STRANGER},stranger,2\n')
        context = ssl.create_default_context(cafile=str(self.ca))
        self._connection = HTTPSConnection(LOOPBACK, self.port, context=context, timeout=20)
        self._lock = Lock()
        self._running: ExitStack | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it has been started, and not stopped since."""
        return self._running is not None

    def start(self) -> Self:
        """Run store and server until the server is ready; with the objects it had when it was stopped."""
        assert self._running is None, "it runs already"
        with ExitStack() as running:
            self.store.start()
            running.callback(self.store.stop)
            running.enter_context(real_server(self._command(), self._folder, self.port, self._is_ready, seconds=90))
            self._running = running.pop_all()
        return self

    def stop(self) -> None:
        """End both; no error where they do not run."""
        if self._running is not None:
            with self._lock:
                self._connection.close()
            self._running.close()
            self._running = None

    def restart(self) -> None:
        """Stop both and start them again."""
        self.stop()
        self.start()

    def _command(self) -> list[str]:
        return [
            self._program,
            f"--etcd-servers={self.store.url}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self.port}",
            f"--tls-cert-file={self._certificates.cert}",
            f"--tls-private-key-file={self._certificates.key}",
            f"--client-ca-file={self.ca}",
            f"--token-auth-file={self._tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._signer}",
            f"--service-account-signing-key-file={self._signer}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            # Without controllers no namespace has the service account that this plugin asks for.
            "--disable-admission-plugins=ServiceAccount",
            "--shutdown-delay-duration=0s",
            "--shutdown-watch-termination-grace-period=1s",  # else it waits a minute for watches to end
            "--v=0",
        ]

    def _is_ready(self) -> bool:
        try:
            return bool(self.ask("GET", "/readyz") == "ok")
        except KubernetesError:
            return False
        except HTTPException as error:
            raise ConnectionError from error

    def ask(self, method: str, path: str, body: object = None, *, kind: str = "application/json", **query: str) -> Any:
        """Ask its API as the administrator: the object it answers, or the text where it is none.

        Raises:
            KubernetesError: It refuses.
        """
        target = path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": kind}
        with self._lock:
            try:
                self._connection.request(method, target, content, headers)
                with self._connection.getresponse() as answer:
                    status, text = answer.status, answer.read().decode()
            except (OSError, HTTPException):
                self._connection.close()  # the next request makes a new one
                raise
        if status >= 400:
            raise KubernetesError(f"{method} {path}: {status} {text}")
        return json.loads(text) if text.startswith("{") else text

    def create(self, path: str, body: Mapping[str, Any]) -> Any:
        """Create an object."""
        return self.ask("POST", path, body)

    def apply(self, path: str, body: Mapping[str, Any]) -> Any:
        """Create or change an object by its name, as ``kubectl apply --server-side`` does."""
        name = body["metadata"]["name"]
        kind = "application/apply-patch+yaml"
        return self.ask("PATCH", f"{path}/{name}", body, kind=kind, fieldManager="tests", force="true")

    def delete(self, path: str) -> None:
        """Remove an object at once; no error where it is not there."""
        try:
            self.ask("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
        except KubernetesError as error:
            if ": 404 " not in str(error):
                raise

    def namespace(self, prefix: str = "test") -> str:
        """Make a namespace; its name."""
        made = self.create("/api/v1/namespaces", {"metadata": {"generateName": f"{prefix}-"}})
        return str(made["metadata"]["name"])

    def service_account_token(self, namespace: str, name: str, seconds: int = 600) -> str:
        """A token of a service account, as a kubelet projects it into a pod (TokenRequest API)."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        made = self.create(path, {"spec": {"expirationSeconds": seconds}})
        return str(made["status"]["token"])

    def put_pod(
        self,
        namespace: str,
        name: str,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Create a pod, or change its labels and annotations; its uid."""
        metadata = {"name": name, "labels": dict(labels or {}), "annotations": dict(annotations or {})}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [{"name": "app", "image": "app"}]},
        }
        return str(self.apply(PODS.format(namespace=namespace), body)["metadata"]["uid"])

    def delete_pod(self, namespace: str, name: str) -> None:
        """Remove a pod; no error where it is not there."""
        self.delete(f"{PODS.format(namespace=namespace)}/{name}")

    def put_slice(
        self,
        namespace: str,
        name: str,
        service: str,
        endpoints: Sequence[Mapping[str, Any]],
        *,
        ports: Sequence[Mapping[str, Any]] = ({"name": "http", "port": 8080, "protocol": "TCP"},),
        family: str = "IPv4",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Create or change an EndpointSlice, as the controller of a Service does, which also gives it its labels."""
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {**(labels or {}), "kubernetes.io/service-name": service}},
            "addressType": family,
            "ports": list(ports),
            "endpoints": list(endpoints),
        }
        self.apply(SLICES.format(namespace=namespace), body)

    def delete_slice(self, namespace: str, name: str) -> None:
        """Remove an EndpointSlice; no error where it is not there."""
        self.delete(f"{SLICES.format(namespace=namespace)}/{name}")


def shared() -> Kubernetes:
    """A running one for all tests of this process; each has a namespace of its own. A test may stop it."""
    kubernetes = _made()
    if not kubernetes.running:
        kubernetes.start()
    return kubernetes


@cache
def _made() -> Kubernetes:
    folder = tempfile.TemporaryDirectory(prefix="graymw-kubernetes-")
    kubernetes = Kubernetes(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(kubernetes.stop)
    return kubernetes


def endpoint(
    address: str,
    *,
    namespace: str = "",
    pod: str = "",
    uid: str = "",
    ready: bool | None = True,
    serving: bool | None = None,
    terminating: bool | None = None,
    zone: str = "",
) -> dict[str, Any]:
    """One endpoint of an EndpointSlice.

    Args:
        pod: Name of the pod behind it; empty for none.
        uid: Its uid, where the endpoint tells it.
    """
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    made: dict[str, Any] = {
        "addresses": [address],
        "conditions": {name: value for name, value in conditions.items() if value is not None},
    }
    if pod:
        made["targetRef"] = {"kind": "Pod", "namespace": namespace, "name": pod, **({"uid": uid} if uid else {})}
    if zone:
        made["zone"] = zone
    return made
