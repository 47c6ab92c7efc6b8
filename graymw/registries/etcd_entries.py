"""What stands under a registry's keys in etcd, read and written. Pure.

Ours is ``PREFIX/SERVICE/HOST:PORT`` with JSON of ``host``, ``port``, ``tls``, ``metadata``. Read as well is what others
write under ``PREFIX/SERVICE/ANYTHING``: Kratos (JSON with ``endpoints``), the naming resolver of etcd's Go client (JSON
with ``Addr`` and ``Metadata``) and go-zero (``host:port`` and nothing else).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from graymw.core import names
from graymw.core.instance_metadata import instance_from_metadata, metadata_of
from graymw.core.instances import Instance

_TLS_SCHEMES: Final = frozenset({"https", "grpcs"})
_HTTP_SCHEMES: Final = frozenset({"http", "https"})


class Unreadable(Exception):  # noqa: N818 - no fault of ours, and never raised to a user
    """An entry that makes no instance; says why."""


class _Address(NamedTuple):
    host: str
    port: int
    tls: bool = False


def key_of(prefix: str, instance: Instance) -> str:
    """Where an instance stands: the same after a restart, so that it never stands there twice."""
    return f"{prefix}{instance.service}/{instance.authority}"


def value_of(instance: Instance) -> bytes:
    """What stands there."""
    told = {"host": instance.host, "port": instance.port, "tls": instance.tls, "metadata": metadata_of(instance)}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def lease_of(key: str, seconds: int) -> int:
    """Number of the lease that a key hangs on: the same for all processes that stand there.

    With leases of their own, the end of one process's would take the key that the others keep alive.
    """
    digest = hashlib.blake2b(f"{key} {seconds}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def service_of(prefix: str, key: bytes) -> str:
    """The service that a key belongs to.

    Raises:
        Unreadable: It belongs to none.
    """
    try:
        service, _, last = key.decode().removeprefix(prefix).rpartition("/")
    except UnicodeDecodeError:
        raise Unreadable("the key is no text") from None
    if not last or not names.is_service(service):
        raise Unreadable("the key does not end in SERVICE/INSTANCE")
    return service


def instance_of(service: str, value: bytes) -> Instance:
    """The instance that a value describes.

    Raises:
        Unreadable: It describes none.
    """
    try:
        text = value.decode().strip()
        described = json.loads(text) if text.startswith("{") else {"Addr": text}
    except (ValueError, RecursionError):
        raise Unreadable("the value is neither JSON nor HOST:PORT") from None
    address = _address(described)
    return instance_from_metadata(service, address.host, address.port, _metadata(described), tls=address.tls)


def _address(described: Mapping[str, Any]) -> _Address:
    if "host" in described:
        return _checked(_Address(described["host"], described.get("port", 0), described.get("tls") is True))
    if "Addr" in described:
        return _split(described["Addr"])
    if "endpoints" in described:
        return _endpoint(described["endpoints"])
    raise Unreadable("the value names no address: it has neither host, Addr nor endpoints")


def _endpoint(endpoints: object) -> _Address:
    """The one among several that speaks HTTP, else the first."""
    found: list[tuple[bool, _Address]] = []
    for endpoint in endpoints if isinstance(endpoints, list) else ():
        try:
            parts = urlsplit(endpoint)
            tls = parts.scheme in _TLS_SCHEMES or dict(parse_qsl(parts.query)).get("isSecure") == "true"
            address = _checked(_Address(parts.hostname or "", parts.port or 0, tls))
        except (AttributeError, TypeError, ValueError, Unreadable):
            continue
        found.append((parts.scheme not in _HTTP_SCHEMES, address))
    if not found:
        raise Unreadable("none of the endpoints is a URL with host and port")
    return min(found, key=lambda one: one[0])[1]


def _split(written: object) -> _Address:
    if not isinstance(written, str):
        raise Unreadable("Addr is no text")
    host, _, port = written.rpartition(":")
    if not port.isascii() or not port.isdecimal():
        raise Unreadable(f"{written[:80]!r} is no HOST:PORT")
    return _checked(_Address(host.removeprefix("[").removesuffix("]"), int(port[:6])))


def _checked(address: _Address) -> _Address:
    host, port, _ = address
    if not names.is_host(host):
        raise Unreadable("the value names no host")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65_536:
        raise Unreadable("the value names no port from 1 to 65535")
    return address


def _metadata(described: Mapping[str, Any]) -> dict[str, object]:
    """What stands beside the address; Kratos keeps the version outside of its metadata."""
    told = described.get("metadata", described.get("Metadata"))
    metadata = dict(told) if isinstance(told, Mapping) else {}
    version = described.get("version")
    return metadata if "version" in metadata or version is None else {**metadata, "version": version}
