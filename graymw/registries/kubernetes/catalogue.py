"""Services and their instances, from slices and pods as they come."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from graymw.core.instance_metadata import instance_from_metadata
from graymw.core.instances import Instance
from graymw.registries.kubernetes.objects import (
    Endpoint,
    Pod,
    PodKey,
    Port,
    Slice,
    UnclearPortError,
    key_of,
    read_pod,
    read_service_ports,
    read_slice,
)
from graymw.registries.kubernetes.options import Options
from graymw.remote.kubernetes.client import Event, Gone, Listed, Object
from graymw.runtime import counters

log = logging.getLogger("graymw.registry")

SliceKey: TypeAlias = tuple[str, str]
ServiceKey: TypeAlias = tuple[str, str]
"""Namespace and logical name."""

_AtPorts: TypeAlias = Mapping[str, tuple[Instance, ...]]
"""Instances by what stands behind the service's name: nothing, or ``:80`` where the port of a call tells."""

_MALFORMED: Final = (AttributeError, KeyError, TypeError, ValueError)


class Catalogue:
    """What a cluster's services are made of. Used in one event loop.

    Args:
        options: How to read the cluster.

    Attributes:
        asks_for_services: Whether Services have to be known too, to tell which of several ports a call means.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pods: dict[PodKey, Pod] = {}
        self._slices: dict[SliceKey, Slice] = {}
        self._slices_of: dict[ServiceKey, dict[SliceKey, Slice]] = {}
        self._users: dict[PodKey, set[SliceKey]] = {}
        self._ports: dict[tuple[str, str], Mapping[str, int]] = {}
        self._logical: dict[tuple[str, str], ServiceKey] = {}
        self._stale: set[ServiceKey] = set()
        self._instances: dict[ServiceKey, _AtPorts] = {}
        self.asks_for_services = False
        self._named: dict[str, tuple[Instance, ...]] = {}

    def take_slices(self, event: Event, namespace: str) -> None:
        """Note what happened to EndpointSlices of a namespace; empty for all namespaces."""
        match event:
            case Listed(objects):
                there = {key for found in objects if (key := self._put_slice(found)) is not None}
                for key in [key for key in self._slices if key not in there and namespace in ("", key[0])]:
                    self._drop_slice(key)
            case Gone(found):
                self._drop_slice(key_of(found))
            case _:
                self._put_slice(event.object)

    def take_pods(self, event: Event, namespace: str) -> None:
        """Note what happened to Pods of a namespace; empty for all namespaces."""
        match event:
            case Listed(objects):
                there = {self._put_pod(found) for found in objects}
                for key in [key for key in self._pods if key not in there and namespace in ("", key[0])]:
                    self._drop_pod(key)
            case Gone(found):
                self._drop_pod(key_of(found))
            case _:
                self._put_pod(event.object)

    def take_services(self, event: Event, namespace: str) -> None:
        """Note what happened to Services of a namespace; empty for all namespaces."""
        match event:
            case Listed(objects):
                there = {self._put_service(found) for found in objects}
                for key in [key for key in self._ports if key not in there and namespace in ("", key[0])]:
                    self._note_ports(key, None)
            case Gone(found):
                self._note_ports(key_of(found), None)
            case _:
                self._put_service(event.object)

    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        """Instances by every name that callers write; the same object as before where nothing has changed."""
        changed = False
        for service in self._stale:
            known, now = self._instances.get(service, {}), self._made(service)
            if now != known:
                self._instances[service] = {
                    port: before if (before := known.get(port)) == made else made for port, made in now.items()
                }
                changed = True
            if not now:
                self._instances.pop(service, None)
        self._stale.clear()
        if changed:
            self._named = {
                f"{name}{port}": made
                for service, at_ports in self._instances.items()
                for name in self._names(service)
                for port, made in at_ports.items()
            }
        return self._named

    def _put_slice(self, found: Object) -> SliceKey | None:
        key = key_of(found)
        try:
            slice_ = read_slice(found, self._options)
        except UnclearPortError as error:
            counters.some(log, "kubernetes:port", str(error), logging.WARNING, "%s", error)
            slice_ = None
        except _MALFORMED as error:
            _malformed("EndpointSlice", key, error)
            slice_ = None
        if slice_ == self._slices.get(key):
            return key
        self._drop_slice(key)
        if slice_ is not None:
            self._slices[key] = slice_
            self._slices_of.setdefault(_service_of(slice_), {})[key] = slice_
            self._logical[slice_.namespace, slice_.service] = _service_of(slice_)
            self.asks_for_services |= slice_.by_port
            self._stale.add(_service_of(slice_))
            for pod in _pods_of(slice_):
                self._users.setdefault(pod, set()).add(key)
        return key

    def _drop_slice(self, key: SliceKey) -> None:
        slice_ = self._slices.pop(key, None)
        if slice_ is None:
            return
        service = _service_of(slice_)
        self._stale.add(service)
        slices = self._slices_of[service]
        del slices[key]
        if not slices:
            del self._slices_of[service]
        for pod in _pods_of(slice_):
            users = self._users[pod]
            users.discard(key)
            if not users:
                del self._users[pod]

    def _put_pod(self, found: Object) -> PodKey:
        key = key_of(found)
        try:
            pod = read_pod(found, self._options)
        except _MALFORMED as error:
            _malformed("Pod", key, error)
            return key
        if pod != self._pods.get(key):
            self._pods[key] = pod
            self._stale_by(key)
        return key

    def _drop_pod(self, key: PodKey) -> None:
        if self._pods.pop(key, None) is not None:
            self._stale_by(key)

    def _put_service(self, found: Object) -> tuple[str, str]:
        key = key_of(found)
        try:
            self._note_ports(key, read_service_ports(found))
        except _MALFORMED as error:
            _malformed("Service", key, error)
        return key

    def _note_ports(self, key: tuple[str, str], ports: Mapping[str, int] | None) -> None:
        """Note the ports of a Kubernetes Service; None where it is no more."""
        if ports == self._ports.get(key):
            return
        if ports is None:
            del self._ports[key]
        else:
            self._ports[key] = ports
        if key in self._logical:
            self._stale.add(self._logical[key])

    def _stale_by(self, pod: PodKey) -> None:
        self._stale |= {_service_of(self._slices[key]) for key in self._users.get(pod, ())}

    def _names(self, service: ServiceKey) -> Iterator[str]:
        """Every name of a service that cluster DNS knows, from this pod's view."""
        namespace, name = service
        if namespace == self._options.home:
            yield name
        yield f"{name}.{namespace}"
        yield f"{name}.{namespace}.svc"
        yield f"{name}.{namespace}.svc.{self._options.domain}"

    def _made(self, service: ServiceKey) -> _AtPorts:
        """Instances of a service; nothing at all where it is no more, or not known well enough."""
        slices = self._slices_of.get(service)
        if slices is None:
            return {}
        counted = [slice_ for _, slice_ in sorted(slices.items())]
        if self._options.versions == "service":
            # A Service over all versions beside those of one each has the pods of these too, without a version.
            counted = [slice_ for slice_ in counted if "version" in slice_.metadata] or counted
        by_port = any(slice_.by_port for slice_ in counted)
        found: dict[str, dict[tuple[str, int], Instance]] = {} if by_port else {"": {}}
        groups: dict[str, list[Slice]] = {}
        for slice_ in counted:
            groups.setdefault(slice_.service, []).append(slice_)
        for kubernetes_name, group in groups.items():
            numbers = self._ports.get((service[0], kubernetes_name), {}) if by_port else {}
            found |= {f":{number}": {} for number in numbers.values() if f":{number}" not in found}
            for port, instance in self._instances_of(service[1], group):
                if not by_port:
                    found[""][instance.host, instance.port] = instance
                elif port.name in numbers:
                    found[f":{numbers[port.name]}"][instance.host, instance.port] = instance
        return {place: tuple(instances.values()) for place, instances in found.items()}

    def _instances_of(self, name: str, slices: Iterable[Slice]) -> Iterator[tuple[Port, Instance]]:
        """Instances of one Kubernetes Service at each of its ports."""
        for slice_, endpoint in _chosen(slices, self._options.family):
            metadata = self._metadata(slice_, endpoint)
            if metadata is not None:
                for port in slice_.ports:
                    yield port, instance_from_metadata(name, endpoint.host, port.number, metadata, tls=port.tls)

    def _metadata(self, slice_: Slice, endpoint: Endpoint) -> Mapping[str, str] | None:
        """What is known of an endpoint; None while its version is not.

        Pods and slices come on two watches. An endpoint whose pod is not known yet, or is another one of that name, may
        be gray, so it takes no traffic until its pod is seen.
        """
        metadata = {"zone": endpoint.zone, **slice_.metadata, "namespace": slice_.namespace}
        if endpoint.pod is None:
            return metadata
        metadata["pod"] = endpoint.pod.key[1]
        if self._options.versions == "service":
            return metadata
        pod = self._pods.get(endpoint.pod.key)
        if pod is None or (endpoint.pod.uid and pod.uid != endpoint.pod.uid):
            return None
        return {**metadata, **pod.metadata}


def _chosen(slices: Iterable[Slice], family: str) -> Iterator[tuple[Slice, Endpoint]]:
    """Endpoints of one Service that take calls: those that are ready; without any, those that serve on while they end.

    A pod with addresses of both families is one instance. As kube-proxy does it, but that it chooses a node's family.
    """
    all_ = [(slice_, endpoint) for slice_ in slices for endpoint in slice_.endpoints]
    usable = [entry for entry in all_ if entry[1].ready] or all_
    preferred = [entry for entry in usable if entry[0].family == family]
    pods = {endpoint.pod for _, endpoint in preferred}
    yield from preferred
    for slice_, endpoint in usable:
        if slice_.family != family and (endpoint.pod not in pods if endpoint.pod is not None else not preferred):
            yield slice_, endpoint


def _service_of(slice_: Slice) -> ServiceKey:
    return slice_.namespace, slice_.logical


def _pods_of(slice_: Slice) -> set[PodKey]:
    return {endpoint.pod.key for endpoint in slice_.endpoints if endpoint.pod is not None}


def _malformed(kind: str, key: tuple[str, str], error: Exception) -> None:
    counters.count("registry.malformed")
    counters.once(
        log, f"kubernetes:{kind}", logging.WARNING, "%s %s cannot be understood (%r), and is left out", kind, key, error
    )
