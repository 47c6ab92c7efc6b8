"""Instances as Nacos describes them, read and written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from graymw.core import names
from graymw.core.instance_metadata import instance_from_metadata, metadata_of
from graymw.core.instances import Instance

DEFAULT_CLUSTER: Final = "DEFAULT"
MAX_WEIGHT: Final = 10_000
"""Heaviest instance that Nacos takes."""

_FINE: Final = 100
"""Nacos' weights have two decimals, graymw's have none."""

_TRUE: Final = ("true", "1", "yes", "on")


def instances_of(service: str, hosts: Iterable[Any]) -> tuple[Instance, ...]:
    """Instances that may take calls: healthy, enabled, each place once.

    Weights of Nacos itself count; where one is set to 0, nothing in the metadata brings the instance back. Spring's
    ``secure`` and Dubbo's ``dubbo.tag`` are understood, and a cluster counts as the zone where no zone is told.

    Args:
        hosts: As Nacos lists them.
    """
    fit = [host for host in hosts if isinstance(host, Mapping) and _is_fit(host)]
    weights = [_weight(host) for host in fit]
    factor = 1 if all(weight == int(weight) for weight in weights) else _FINE
    found: dict[str, Instance] = {}
    for host, weight in zip(fit, weights, strict=True):
        metadata = _metadata(host)
        tls = str(metadata.get("secure", "")).lower() in _TRUE
        described = {"version": metadata.get("dubbo.tag"), "zone": _cluster(host), **metadata}
        described.pop("weight", None)
        instance = instance_from_metadata(
            service, str(host["ip"]), int(host["port"]), described, weight=weight * factor, tls=tls
        )
        found[instance.authority] = instance
    return tuple(sorted(found.values(), key=lambda instance: instance.authority))


def place_of(instance: Instance, cluster: str) -> dict[str, str]:
    """What names an instance."""
    return {"ip": instance.host, "port": str(instance.port), "clusterName": cluster or DEFAULT_CLUSTER}


def description_of(instance: Instance, cluster: str) -> dict[str, Any]:
    """What is registered. The weight is Nacos' own, so that people can change it there."""
    metadata = metadata_of(instance)
    metadata.pop("weight", None)
    return {
        "ip": instance.host,
        "port": instance.port,
        "weight": float(min(max(instance.weight, 0), MAX_WEIGHT)),
        "enabled": True,
        "healthy": True,
        "ephemeral": True,
        "clusterName": cluster or DEFAULT_CLUSTER,
        "metadata": metadata,
    }


def form_of(description: Mapping[str, Any]) -> dict[str, str]:
    """The same as the fields of a form."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in description.items()
    }


def _is_fit(host: Mapping[str, Any]) -> bool:
    port = host.get("port")
    named = names.is_host(host.get("ip")) and type(port) is int and 0 < port < 65_536
    return named and host.get("healthy", True) is True and host.get("enabled", True) is True


def _metadata(host: Mapping[str, Any]) -> dict[str, Any]:
    metadata = host.get("metadata")
    return dict(metadata) if isinstance(metadata, Mapping) else {}


def _cluster(host: Mapping[str, Any]) -> str:
    cluster = host.get("clusterName")
    return cluster if isinstance(cluster, str) and cluster != DEFAULT_CLUSTER else ""


def _weight(host: Mapping[str, Any]) -> float:
    own = _number(host.get("weight"), 1.0)
    return own if own == 0 else _number(_metadata(host).get("weight"), own)


def _number(written: Any, otherwise: float) -> float:
    try:
        number = float(written)
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if 0 <= number < float("inf") else otherwise
