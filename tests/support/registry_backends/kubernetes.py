"""Kubernetes: versions by the labels of pods, or by one Service for each version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from real_kubernetes import ADMIN, endpoint, shared

from registry_backends import Opened

_LABEL: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?")
_REASON: Final = "the platform registers pods, nothing does so by itself"


class KubernetesBackend:
    """A namespace of a real API server, and somebody who does what Deployments, Services and kubelets would.

    Each instance has an EndpointSlice of its own, as it has a port of its own. The API refuses loopback addresses, so
    they are written as domain names, which it takes.
    """

    lacks: ClassVar[Mapping[str, str]] = {
        f"test_{law}": _REASON
        for law in (
            "a_process_registers_itself_and_leaves_when_it_is_told_to_end",
            "a_killed_process_is_let_go_when_its_heartbeats_are_missed",
            "a_registration_that_the_registry_lost_is_restored",
            "a_registration_outlives_a_restart_of_the_server",
            "a_process_that_begins_while_the_server_is_down_registers_later",
            "an_address_is_left_by_the_last_of_its_processes",
        )
    }
    seconds = 5.0
    expiry_seconds = 0.0

    def __init__(self, versions: Literal["pods", "service"]) -> None:
        self._versions = versions
        self._kubernetes = shared()
        self._namespace = self._kubernetes.namespace()

    def settings(self) -> dict[str, object]:
        url = f"kubernetes://127.0.0.1:{self._kubernetes.port}/{self._namespace}?versions={self._versions}"
        return {"registry": url, "registry_ca": str(self._kubernetes.ca), "registry_token": ADMIN}

    def wrong_login(self) -> dict[str, object] | None:
        return {**self.settings(), "registry_token": "not-the-t0ken"}

    def put(self, service: str, host: str, port: int, metadata: Mapping[str, str]) -> None:
        name = f"{service}-{port}"
        told = {f"graymw.io/{key}": value for key, value in metadata.items() if key != "version"}
        version = metadata.get("version", "")
        labels = {"version": version} if _LABEL.fullmatch(version) else {}  # no label holds another
        target: dict[str, Any] = {}
        if self._versions == "pods":
            target = {"namespace": self._namespace, "pod": name}
            target["uid"] = self._kubernetes.put_pod(self._namespace, name, labels, told)
            own = {}
        else:
            own = {f"graymw.io/{key}": value for key, value in labels.items()} | told
            own["graymw.io/service"] = service
        self._kubernetes.put_slice(
            self._namespace,
            name,
            service if self._versions == "pods" else re.sub("[^a-z0-9]+", "-", f"{service}-{version}x"),
            [endpoint(host, **target)],
            ports=[{"name": "http", "port": port, "protocol": "TCP"}],
            family="FQDN",
            labels=own,
        )

    def remove(self, service: str, host: str, port: int) -> None:
        name = f"{service}-{port}"
        self._kubernetes.delete_slice(self._namespace, name)
        self._kubernetes.delete_pod(self._namespace, name)

    def stop(self) -> None:
        self._kubernetes.stop()

    def start(self) -> None:
        self._kubernetes.start()


def _opening(versions: Literal["pods", "service"]) -> Opened:
    @contextmanager
    def opened(_folder: Path) -> Iterator[KubernetesBackend]:
        yield KubernetesBackend(versions)

    def open_(folder: Path) -> AbstractContextManager[KubernetesBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {"pods": _opening("pods"), "services": _opening("service")}
