"""Objects as the API server gives them, cut to what matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graymw.core.instances import Instance
from graymw.registries.kubernetes.catalogue import Catalogue
from graymw.registries.kubernetes.options import Options
from graymw.remote.kubernetes.client import Event, Gone, Put

HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}


def endpoint(
    address: str, pod: str = "", *, uid: str = "", zone: str = "", **conditions: bool | None
) -> dict[str, Any]:
    """An endpoint; ``pod`` is its pod's name, whose uid is ``uid`` or the same."""
    made: dict[str, Any] = {"addresses": [address], "conditions": conditions}
    if pod:
        made["targetRef"] = {"kind": "Pod", "namespace": "shop", "name": pod, "uid": uid or pod}
    return {**made, "zone": zone} if zone else made


def slice_of(
    service: str,
    /,
    *endpoints: Mapping[str, Any],
    name: str = "",
    namespace: str = "shop",
    ports: Sequence[Mapping[str, Any]] | None = (HTTP,),
    family: str = "IPv4",
    **labels: str,
) -> dict[str, Any]:
    """An EndpointSlice; labels are ours, without their prefix."""
    own = {f"graymw.io/{key}": value for key, value in labels.items()}
    return {
        "metadata": {
            "name": name or f"{service}-{family.lower()}",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service, **own},
        },
        "addressType": family,
        "endpoints": list(endpoints) or None,
        "ports": None if ports is None else list(ports),
    }


def pod(
    name: str, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None, uid: str = ""
) -> dict[str, Any]:
    """A pod; its uid is its name where none is given."""
    metadata = {"name": name, "namespace": "shop", "uid": uid or name}
    return {"metadata": {**metadata, "labels": labels or None, "annotations": annotations or None}}


def service(name: str, **ports: int) -> dict[str, Any]:
    """A Service; its ports by their names."""
    found = [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports.items()]
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": found}}


class Cluster:
    """A catalogue, told what happens in a cluster."""

    def __init__(self, **options: Any) -> None:
        self.catalogue = Catalogue(Options(**{"namespaces": ("shop",), "home": "shop", **options}))

    def put(self, *objects: dict[str, Any]) -> None:
        for found in objects:
            self._taker(found)(Put(found), "shop")

    def remove(self, *objects: dict[str, Any]) -> None:
        for found in objects:
            self._taker(found)(Gone(found), "shop")

    def _taker(self, found: dict[str, Any]) -> Callable[[Event, str], None]:
        if "spec" in found:
            return self.catalogue.take_services
        return self.catalogue.take_slices if "addressType" in found else self.catalogue.take_pods

    def instances(self, name: str = "orders") -> tuple[Instance, ...]:
        return self.catalogue.services()[name]

    def versions(self, name: str = "orders") -> dict[str, str]:
        """Version by address."""
        return {instance.host: instance.version for instance in self.instances(name)}
