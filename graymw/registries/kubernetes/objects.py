"""What counts of an EndpointSlice and of a Pod (Kubernetes API reference, ``discovery.k8s.io/v1`` and ``v1``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from graymw.registries.kubernetes.options import VERSION_LABELS, Options
from graymw.remote.kubernetes.client import Object

PREFIX: Final = "graymw.io/"
SERVICE_NAME: Final = "kubernetes.io/service-name"
_OVER_TLS: Final = frozenset({"https", "kubernetes.io/wss"})
_NOT_METADATA: Final = (f"{PREFIX}port", f"{PREFIX}service", f"{PREFIX}version")
_NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})

PodKey: TypeAlias = tuple[str, str]
"""Namespace and name."""


class PodReference(NamedTuple):
    """The pod behind an endpoint; the uid tells it from others that had its name before (empty where unknown)."""

    key: PodKey
    uid: str


class Endpoint(NamedTuple):
    """An address that may take calls.

    Attributes:
        ready: Whether it takes calls; else it only serves on while it ends, for want of a better one.
        zone: Where it runs; empty where unknown.
    """

    host: str
    ready: bool
    zone: str
    pod: PodReference | None


class Port(NamedTuple):
    """A port that endpoints listen on; ``tls`` where it says that it speaks TLS."""

    name: str
    number: int
    tls: bool


class Slice(NamedTuple):
    """Some endpoints of a Service, all of one address family.

    Attributes:
        service: The Kubernetes Service.
        logical: What callers mean by it: the same, but for one Service for each version.
        metadata: What its labels say of version, weight and more; the controller copies them from the Service.
        ports: Where its endpoints listen.
        by_port: Whether the port of a call tells which of them is meant; else there is one, for all calls.
    """

    namespace: str
    service: str
    logical: str
    family: str
    ports: tuple[Port, ...]
    by_port: bool
    metadata: Mapping[str, str]
    endpoints: tuple[Endpoint, ...]


class Pod(NamedTuple):
    """What a pod's labels and annotations say of its version, weight and more."""

    uid: str
    metadata: Mapping[str, str]


class UnclearPortError(ValueError):
    """The port that is asked for is none of a Service's."""


def key_of(found: Object) -> tuple[str, str]:
    """Namespace and name of an object."""
    metadata = found["metadata"]
    return metadata["namespace"], metadata["name"]


def read_slice(found: Object, options: Options) -> Slice | None:
    """An EndpointSlice; None for one that belongs to no Service, or to the API server itself.

    Raises:
        UnclearPortError: It has several ports, and not the one that is asked for.
    """
    namespace, _ = key_of(found)
    labels: Mapping[str, str] = found["metadata"].get("labels") or _NO_METADATA
    service = labels.get(SERVICE_NAME, "")
    if not service or (namespace, service) == ("default", "kubernetes"):
        return None
    logical, version = _meant(service, labels, options)
    metadata = _own(labels, version)
    endpoints = tuple(_endpoints(found.get("endpoints") or ()))
    wanted = labels.get(f"{PREFIX}port", "") or options.port
    ports = _ports(found.get("ports") or (), wanted, f"{service}.{namespace}")
    by_port = len(ports) > 1
    return Slice(namespace, service, logical, found["addressType"], ports, by_port, metadata, endpoints)


def read_service_ports(found: Object) -> Mapping[str, int]:
    """Ports of a Service by which callers mean them, by the names that EndpointSlices have them under."""
    return {port.get("name") or "": port["port"] for port in found["spec"].get("ports") or () if _is_tcp(port)}


def read_pod(found: Object, options: Options) -> Pod:
    """A pod; a version from the first of the labels that it has."""
    labels: Mapping[str, str] = found["metadata"].get("labels") or _NO_METADATA
    annotations: Mapping[str, str] = found["metadata"].get("annotations") or _NO_METADATA
    version = _first(labels, options.version_labels)
    return Pod(found["metadata"].get("uid", ""), _own({**annotations, **labels}, version))


def _meant(service: str, labels: Mapping[str, str], options: Options) -> tuple[str, str]:
    """What callers call the service, and the version that the Service stands for; empty where it stands for none."""
    version = _first(labels, options.version_labels if options.versions == "service" else VERSION_LABELS[:1])
    if options.versions == "pods":
        return service, version
    named = options.service_name.read(service) if options.service_name is not None else None
    logical = labels.get(f"{PREFIX}service", "").lower() or (named.service if named else service)
    return logical, version or (named.version if named else "")


def _first(labels: Mapping[str, str], names: Iterable[str]) -> str:
    """Value of the first label that is there; empty where none is."""
    return next((labels[name] for name in names if labels.get(name)), "")


def _own(texts: Mapping[str, str], version: str) -> Mapping[str, str]:
    """Metadata in words of ours, such as ``weight`` for ``graymw.io/weight``, and the version."""
    metadata = {
        key.removeprefix(PREFIX): value
        for key, value in texts.items()
        if key.startswith(PREFIX) and key not in _NOT_METADATA
    }
    return {**metadata, "version": version} if version else metadata


def _endpoints(found: Iterable[Mapping[str, Any]]) -> Iterable[Endpoint]:
    """Endpoints that take calls, or still could. A condition that is not told counts as the reference says."""
    for endpoint in found:
        conditions = endpoint.get("conditions") or {}
        ready = conditions.get("ready") is not False
        serving = conditions.get("serving")
        addresses = endpoint.get("addresses")
        if addresses and (ready or (serving and conditions.get("terminating"))):
            yield Endpoint(addresses[0], ready, endpoint.get("zone") or "", _pod(endpoint.get("targetRef")))


def _pod(reference: Mapping[str, str] | None) -> PodReference | None:
    if not reference or reference.get("kind") != "Pod" or not reference.get("name"):
        return None
    return PodReference((reference.get("namespace") or "", reference["name"]), reference.get("uid") or "")


def _ports(ports: Iterable[Mapping[str, Any]], wanted: str, service: str) -> tuple[Port, ...]:
    """The port that is asked for; all of them where none is."""
    usable = [_port(port) for port in ports if port.get("port") and _is_tcp(port)]
    if not usable or not wanted:
        return tuple(usable)
    chosen = [port for port in usable if wanted in (port.name, str(port.number))]
    if not chosen and len(usable) == 1 and not usable[0].name:
        chosen = usable
    if not chosen:
        there = ", ".join(f"{port.name or 'unnamed'} ({port.number})" for port in usable)
        raise UnclearPortError(
            f"Service {service} has the ports {there}, and none is {wanted}: calls to it go as addressed; say which by "
            f"?port= of GRAYMW_REGISTRY, or by the label {PREFIX}port of the Service"
        )
    return tuple(chosen[:1])


def _is_tcp(port: Mapping[str, Any]) -> bool:
    return (port.get("protocol") or "TCP") == "TCP"


def _port(port: Mapping[str, Any]) -> Port:
    """A port; names in Istio's form, such as ``https-api``, tell a protocol too."""
    name = port.get("name") or ""
    return Port(name, port["port"], name.partition("-")[0] == "https" or port.get("appProtocol") in _OVER_TLS)
