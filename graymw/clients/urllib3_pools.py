"""Pools to instances: each logical pool has one for each instance that its calls go to."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from queue import Empty, LifoQueue
from typing import Any, Final

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connectionpool import ConnectionPool

from graymw.clients.containment import contained
from graymw.clients.urllib3_calls import Planned
from graymw.core.instances import Instance

MAX_INSTANCES: Final = 128
"""Pools to instances kept for one logical pool; the one unused for longest goes first."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_INSTANCES: Final = "_graymw_instances"
_OWN: Final = frozenset(
    {"_tunnel_host", "conn_kw", "host", "is_same_host", "num_connections", "num_requests", "pool", "port", _INSTANCES}
)
"""Attributes in which the pool to an instance differs from the logical pool it was made from."""

_lock: Final = threading.Lock()


def routed(
    pool: HTTPConnectionPool, url: str, path: str, headers: Any, planned: Planned
) -> tuple[HTTPConnectionPool, str, Any]:
    """The one place where a call turns to its instance: the pool to send it, the URL and the headers to send."""
    instance = planned.instance
    if instance is None or pool.pool is None:  # a pool that was closed says so itself
        return pool, url, headers
    scheme, host, port = planned.origin
    try:
        named = headers
        if not any(name.lower() == "host" for name in headers):
            named = headers.copy()
            named["Host"] = authority(scheme, host, port)
        if forwards(pool, planned) and not instance.tls:
            return pool, f"http://{instance.authority}{path}", named
        return _instance_pool(pool, pool.pool, instance, host), path, named
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("urllib3", error)
        return pool, url, headers


def forwards(pool: HTTPConnectionPool, planned: Planned) -> bool:
    """Whether the pool is a proxy's that is told the whole URL rather than asked for a tunnel."""
    return pool.proxy is not None and pool.host != planned.origin[1]


def authority(scheme: str, host: str, port: int | None) -> str:
    """What a ``Host`` header says (RFC 9110, §7.2)."""
    name = f"[{host}]" if ":" in host else host
    return name if port in (None, DEFAULT_PORTS.get(scheme)) else f"{name}:{port}"


def _instance_pool(
    pool: HTTPConnectionPool, connections: LifoQueue[Any], instance: Instance, name: str
) -> HTTPConnectionPool:
    """Pool to an instance, with everything else as the logical pool has it.

    Args:
        connections: Those of the logical pool.
        name: Logical name, which TLS asks for and redirects within the pool are compared with.
    """
    key = (instance.host, instance.port, instance.tls)
    with _lock:
        instances: OrderedDict[tuple[str, int, bool], HTTPConnectionPool]
        instances = pool.__dict__.setdefault(_INSTANCES, OrderedDict())
        found = instances.get(key)
        if found is None:
            found = instances[key] = _new_pool(pool, connections, instance, name)
        instances.move_to_end(key)
        surplus = instances.popitem(last=False)[1] if len(instances) > MAX_INSTANCES else None
    if surplus is not None:
        surplus.close()
    if found.scheme == pool.scheme == "https":  # requests sets what to verify before every call
        found.__dict__.update({key: value for key, value in pool.__dict__.items() if key not in _OWN})
    return found


def _new_pool(
    pool: HTTPConnectionPool, connections: LifoQueue[Any], instance: Instance, name: str
) -> HTTPConnectionPool:
    if instance.tls and pool.scheme != "https":
        made = _upgraded(pool, connections.maxsize, instance, name)
    else:
        made = _copied(pool, type(connections)(connections.maxsize), instance, name)
    made.__dict__["is_same_host"] = pool.is_same_host
    return made


def _upgraded(pool: HTTPConnectionPool, size: int, instance: Instance, name: str) -> HTTPConnectionPool:
    """TLS for a pool that knew of none: verified by urllib3's defaults, for the logical name."""
    return HTTPSConnectionPool(
        instance.host,
        instance.port,
        timeout=pool.timeout,
        maxsize=size,
        block=pool.block,
        headers=pool.headers,
        retries=pool.retries,
        _proxy=pool.proxy,
        _proxy_headers=pool.proxy_headers,
        _proxy_config=pool.proxy_config,
        server_hostname=name,
        **pool.conn_kw,
    )


def _copied(pool: HTTPConnectionPool, connections: LifoQueue[Any], instance: Instance, name: str) -> HTTPConnectionPool:
    """The same pool with an address of its own and no connection yet; classes of the application's included."""
    made = object.__new__(type(pool))
    made.__dict__.update(pool.__dict__)
    made.__dict__.pop(_INSTANCES, None)
    ConnectionPool.__init__(made, instance.authority.rpartition(":")[0], instance.port)
    made.num_connections = made.num_requests = 0
    made.pool = connections
    for _ in range(connections.maxsize):
        connections.put(None)
    weakref.finalize(made, _close_connections, connections)
    if pool.scheme == "https":
        made.conn_kw = {**pool.conn_kw, "server_hostname": pool.conn_kw.get("server_hostname") or name}
    return made


def _close_connections(connections: LifoQueue[Any]) -> None:
    """As urllib3 does when a pool is forgotten."""
    try:
        while True:
            connection = connections.get(block=False)
            if connection:
                connection.close()
    except Empty:
        return


def close_instances(pool: HTTPConnectionPool) -> None:
    """Close the pools to instances of a pool that is closed."""
    for made in pool.__dict__.pop(_INSTANCES, {}).values():
        made.close()
