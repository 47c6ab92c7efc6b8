"""The static table of instances: ``services: {orders: [{url: "http://127.0.0.1:8001", version: v1}, …]}``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from graymw.core.instances import Instance
from graymw.settings import values
from graymw.settings.routing_values import decoded, metadata, weight
from graymw.settings.values import Fault, RefusedError, refused

_PORTS: Final[Mapping[str, int | None]] = {"http": 80, "https": 443, "grpc": None, "grpcs": 443}
_EXAMPLE: Final = '[{"url": "http://127.0.0.1:8001", "version": "v1"}]'


def services(value: object) -> Mapping[str, tuple[Instance, ...]]:
    """Instances by service name, in the written order.

    Args:
        value: The table of a file, or its JSON (or TOML) text as an environment variable holds it.

    Raises:
        RefusedError: With every fault of the table.
    """
    table = decoded(value, example=f'{{"orders": {_EXAMPLE}}}')
    if not isinstance(table, Mapping):
        raise refused("the table of services is no mapping", f'write {{"orders": {_EXAMPLE}}}')
    faults: list[Fault] = []
    found: dict[str, tuple[Instance, ...]] = {}
    for service, written in table.items():
        if not isinstance(service, str) or not service.strip():
            faults.append(Fault(f"{service!r} is no service name", "write a name such as orders"))
            continue
        try:
            entries = _listed(written)
        except RefusedError as error:
            faults.extend(Fault(fault.message, fault.mend, f".{service}") for fault in error.faults)
            continue
        read = (_instance(service, entry, f".{service}[{index}]", faults) for index, entry in enumerate(entries))
        found[service] = tuple(instance for instance in read if instance is not None)
    if faults:
        raise RefusedError(*faults)
    return MappingProxyType(found)


def _listed(value: object) -> Sequence[object]:
    no_list = refused("the instances are no list", f"write {_EXAMPLE}")
    try:
        entries = decoded(value, example=_EXAMPLE)
    except RefusedError:
        raise no_list from None
    if isinstance(entries, str) or not isinstance(entries, Sequence):
        raise no_list
    return entries


def _instance(service: str, entry: object, where: str, faults: list[Fault]) -> Instance | None:
    if not isinstance(entry, Mapping):
        faults.append(Fault("an instance is no mapping", 'write {"url": "http://127.0.0.1:8001"}', where))
        return None
    read: dict[str, Any] = {}
    before = len(faults)
    for key, value in {"url": None, **entry}.items():
        if key not in _READERS:
            close = difflib.get_close_matches(str(key), _READERS, 1)
            mend = f"did you mean {close[0]}?" if close else f"known keys are {', '.join(_READERS)}"
            faults.append(Fault(f"unknown key {key!r}", mend, f"{where}.{key}"))
        elif value is not None or key == "url":
            try:
                read[key] = _READERS[key](value)
            except RefusedError as error:
                faults.extend(Fault(fault.message, fault.mend, f"{where}.{key}{fault.where}") for fault in error.faults)
    if len(faults) > before:
        return None
    host, port, tls = read.pop("url")
    return Instance(**{"service": service, "host": host, "port": port, "tls": tls, "version": "", **read})


def _address(value: object) -> tuple[str, int, bool]:
    """Host, port and whether TLS is spoken there."""
    written = value.strip() if isinstance(value, str) else ""
    example = "write scheme, host and port, such as http://127.0.0.1:8001"
    try:
        parts = urlsplit(written)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise refused("it is no URL", example) from None
    if parts.scheme not in _PORTS or not host:
        raise refused("it is no http, https, grpc or grpcs URL" if written else "an instance needs a URL", example)
    if "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise refused("an instance is a host and a port only", "leave out user, path, query and fragment")
    port = port or _PORTS[parts.scheme]
    if port is None:
        raise refused("a grpc URL needs a port", "write grpc://HOST:PORT")
    return host, port, parts.scheme in ("https", "grpcs")


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "url": _address,
    "version": values.label,
    "weight": weight,
    "zone": values.name,
    "gray": values.flag,
    "metadata": metadata,
}
