"""What Consul's catalogue says of an instance, and what is written there of one. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from graymw.core import names
from graymw.core.instance_metadata import instance_from_metadata, metadata_of
from graymw.core.instances import Instance

MAX_PAIRS: Final = 64
MAX_VALUE: Final = 512
"""Characters of a metadata value. Consul refuses a registration that goes beyond this, or has other keys."""

_KEY: Final = re.compile(r"(?!consul-)[A-Za-z0-9_-]{1,128}")
_MAX_WEIGHT: Final = 65_535
_TAG: Final = re.compile(r"(version|weight|zone|gray|tls|secure)=(.*)", re.DOTALL)
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_OWN: Final = ("version", "weight", "zone", "gray", "tls", "secure")
SECURE: Final = "secure"
"""What Spring Cloud Consul calls ``tls``."""


def instances_of(service: str, entries: Iterable[Mapping[str, Any]]) -> tuple[Instance, ...]:
    """Instances of the entries of ``/v1/health/service``; what makes no instance is left out.

    Registrations without metadata may tell theirs in tags, such as ``version=v2``. Of several at one address (an
    instance that has moved to another agent) the last one written counts.
    """
    found: dict[tuple[str, int], tuple[int, Instance]] = {}
    for entry in entries:
        read = _instance(service, entry)
        if read is not None:
            written, instance = read
            at = (instance.host, instance.port)
            if at not in found or written >= found[at][0]:
                found[at] = read
    return tuple(found[at][1] for at in sorted(found))


def _instance(service: str, entry: Mapping[str, Any]) -> tuple[int, Instance] | None:
    """An instance, and the index at which it was written."""
    described = _mapping(entry.get("Service"))
    host = described.get("Address") or _mapping(entry.get("Node")).get("Address")
    port = described.get("Port")
    if not names.is_host(host) or type(port) is not int or not 0 < port < 65_536:
        return None
    metadata = {**_tagged(described.get("Tags")), **_mapping(described.get("Meta"))}
    secure = str(metadata.pop(SECURE, "")).strip().lower() in _TRUE
    weight = _mapping(described.get("Weights")).get("Passing")
    given = weight if type(weight) is int else None
    written = described.get("ModifyIndex")
    instance = instance_from_metadata(service, host, port, metadata, weight=given, tls=secure)
    return (written if type(written) is int else 0), instance


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _tagged(tags: object) -> dict[str, str]:
    pairs = (_TAG.fullmatch(tag) for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
    return {pair[1]: pair[2] for pair in pairs if pair is not None}


def identity_of(instance: Instance) -> str:
    """Id of an instance in its agent: the same after a restart, so that it never stands there twice."""
    return f"{instance.service}-{instance.host}-{instance.port}"


def check_of(instance: Instance) -> str:
    """Id of an instance's check."""
    return f"service:{identity_of(instance)}"


def unfit_metadata(instance: Instance) -> list[str]:
    """Metadata keys that Consul does not take, or not with their value."""
    fit = _fit(instance)
    return sorted(key for key in metadata_of(instance) if key not in fit)


def definition_of(instance: Instance, *, tag: str, ttl: float, forgotten_after: str) -> dict[str, Any]:
    """Body of ``/v1/agent/service/register``.

    Args:
        tag: Carried besides the version, which makes ``v2.orders.service.consul`` a DNS name; empty for none.
        ttl: Seconds without a heartbeat after which the instance is not healthy.
        forgotten_after: How long it stays in the agent then, as a Go duration.
    """
    return {
        "ID": identity_of(instance),
        "Name": instance.service,
        "Address": instance.host,
        "Port": instance.port,
        "Meta": _fit(instance),
        "Tags": list(dict.fromkeys(label for label in (instance.version, tag) if label)),
        "Weights": {"Passing": min(max(instance.weight, 1), _MAX_WEIGHT), "Warning": 1},
        "Check": {
            "CheckID": check_of(instance),
            "Name": "graymw heartbeat",
            "TTL": f"{math.ceil(ttl * 1000)}ms",
            "Status": "passing",  # else the instance would be out until the first heartbeat
            "DeregisterCriticalServiceAfter": forgotten_after,
        },
    }


def _fit(instance: Instance) -> dict[str, str]:
    """Metadata that Consul takes; what means something to graymw comes first."""
    told = metadata_of(instance) | ({SECURE: "true"} if instance.tls else {})
    ordered = sorted(told.items(), key=lambda pair: pair[0] not in _OWN)
    fit = [(key, value) for key, value in ordered if _KEY.fullmatch(key) and len(value) <= MAX_VALUE]
    return dict(fit[:MAX_PAIRS])
