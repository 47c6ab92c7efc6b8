"""urllib3: every connection pool of the process, and the way from a logical name to an instance for requests, too.

A call is planned where a pool sends it, so pools made by hand count as well as a ``PoolManager``'s. Its retries and
redirects within the pool belong to the same call; redirects to other hosts are followed by the ``PoolManager`` and
come in as calls of their own.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from queue import Empty, LifoQueue
from typing import Any, Final

from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool
from urllib3.connectionpool import ConnectionPool
from urllib3.util import parse_url

from graymw.clients.containment import contained
from graymw.clients.patching import Patches, TracedWatch, is_traced
from graymw.core.instances import Instance
from graymw.errors import GrayUnavailableError
from graymw.runtime import outbound
from graymw.runtime.outbound import Outgoing

MAX_INSTANCES: Final = 128
"""Pools to instances kept for one logical pool; the one unused for longest goes first."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_INSTANCES: Final = "_graymw_instances"
_OWN: Final = frozenset(
    {"_tunnel_host", "conn_kw", "host", "is_same_host", "num_connections", "num_requests", "pool", "port", _INSTANCES}
)
"""Attributes in which the pool to an instance differs from the logical pool it was made from."""

_patches: Final = Patches()
_traced: Final = TracedWatch()
_lock: Final = threading.Lock()


class Planned:
    """A call that is planned already.

    Args:
        origin: Scheme, host and port it is addressed to.
        instance: Where it is to go; None: as addressed.
        pool: The pool that is sending it, where that is known.
    """

    __slots__ = ("instance", "origin", "pool")

    def __init__(self, origin: tuple[str, str, int | None], instance: Instance | None, pool: Any = None) -> None:
        self.origin = origin
        self.instance = instance
        self.pool = pool


PLANNED: Final[ContextVar[Planned | None]] = ContextVar("graymw_urllib3_planned", default=None)
"""Set while a call is under way, so that the layers below do not plan it again."""


def install() -> None:
    """Cover every pool of the process."""
    _patches.replace(HTTPConnectionPool, "urlopen", _planning)
    _patches.replace(HTTPConnectionPool, "close", _closing)
    _patches.active = True


def uninstall() -> None:
    """Give the pools back as they were."""
    _patches.restore()


def sends_traced() -> bool:
    """Whether an OpenTelemetry instrumentation makes a CLIENT span of what the pools send."""
    return _traced(HTTPConnectionPool.__dict__["urlopen"])


def pool_of_call(pool: Any) -> Any:
    """Pool that the planned call is to be sent by: its instance's where it has one, else ``pool``."""
    planned = PLANNED.get()
    if planned is None or planned.pool is not None or _forwards(pool, planned):
        return pool
    planned.pool = _routed(pool, "/", "/", {"host": ""}, planned)[0]
    return planned.pool


def _planning(original: Any) -> Any:
    traced = is_traced(original)

    @functools.wraps(original)
    def urlopen(
        pool: HTTPConnectionPool,
        method: str,
        url: str,
        body: Any = None,
        headers: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        planned = PLANNED.get()
        if not _patches.active or (planned is not None and planned.pool is pool):
            return original.__get__(pool)(method, url, body, headers, *args, **kwargs)
        origin, path = _target(pool, url)
        headers = pool.headers if headers is None else headers
        if planned is not None and planned.origin == origin:
            planned.pool = pool
            if planned.instance is not None:
                planned.pool, url, headers = _routed(pool, url, path, headers, planned)
            return original.__get__(planned.pool)(method, url, body, headers, *args, **kwargs)
        outgoing = _begin(method, origin, path, headers, traced)
        if outgoing is None:
            return original.__get__(pool)(method, url, body, headers, *args, **kwargs)
        planned = Planned(origin, outgoing.instance, pool)
        headers = _carrying(headers, outgoing)
        if outgoing.instance is not None:
            planned.pool, url, headers = _routed(pool, url, path, headers, planned)
        reset = PLANNED.set(planned)
        token = outgoing.attach()
        try:
            response = original.__get__(planned.pool)(method, url, body, headers, *args, **kwargs)
        except BaseException as error:
            outgoing.finish(error=error)
            raise
        finally:
            outgoing.detach(token)
            PLANNED.reset(reset)
        outgoing.finish(status=response.status)
        return response

    return urlopen


def _begin(
    method: str, origin: tuple[str, str, int | None], path: str, headers: Mapping[str, str], traced: bool
) -> Outgoing | None:
    try:
        scheme, host, port = origin
        return outbound.begin(
            method=method.upper(),
            scheme=scheme,
            host=host,
            port=port,
            path=path,
            baggage=baggage_of(headers),
            instrumented=traced,
        )
    except GrayUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("urllib3", error)
        return None


def _target(pool: HTTPConnectionPool, url: str) -> tuple[tuple[str, str, int | None], str]:
    """What a call is addressed to, and its path. Through a proxy that forwards, the URL tells rather than the pool."""
    if url.startswith("/"):
        return (pool.scheme, pool.host, pool.port or _DEFAULT_PORTS.get(pool.scheme)), url
    parsed = parse_url(url)
    scheme = parsed.scheme or pool.scheme
    port = parsed.port or _DEFAULT_PORTS.get(scheme)
    return (scheme, (parsed.host or pool.host).strip("[]"), port), parsed.request_uri


def baggage_of(headers: Mapping[str, str]) -> str | None:
    """Value of the ``baggage`` header, several joined."""
    values = [_text(value) for name, value in headers.items() if name.lower() == "baggage"]
    return ",".join(values) if values else None


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def carried_headers(headers: Iterable[tuple[str, Any]], outgoing: Outgoing) -> dict[str, Any]:
    """Headers with what the call carries."""
    replaced = [name for name, _ in outgoing.headers]
    replaced += outgoing.remove
    sent = {name: value for name, value in headers if name.lower() not in replaced}
    sent.update(outgoing.headers)
    return sent


def _carrying(headers: Any, outgoing: Outgoing) -> Any:
    if not outgoing.headers and not outgoing.remove:
        return headers
    try:
        if not isinstance(headers, HTTPHeaderDict):
            return carried_headers(headers.items(), outgoing)
        sent = headers.copy()
        for name in outgoing.remove:
            sent.discard(name)
        for name, value in outgoing.headers:
            sent[name] = value
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("urllib3", error)
        return headers
    return sent


def _routed(
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
        if _forwards(pool, planned) and not instance.tls:
            return pool, f"http://{instance.authority}{path}", named
        return _instance_pool(pool, pool.pool, instance, host), path, named
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("urllib3", error)
        return pool, url, headers


def _forwards(pool: HTTPConnectionPool, planned: Planned) -> bool:
    """Whether the pool is a proxy's that is told the whole URL rather than asked for a tunnel."""
    return pool.proxy is not None and pool.host != planned.origin[1]


def authority(scheme: str, host: str, port: int | None) -> str:
    """What a ``Host`` header says (RFC 9110, §7.2)."""
    name = f"[{host}]" if ":" in host else host
    return name if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{name}:{port}"


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


def _closing(original: Any) -> Any:
    @functools.wraps(original)
    def close(pool: HTTPConnectionPool) -> None:
        original.__get__(pool)()
        for made in pool.__dict__.pop(_INSTANCES, {}).values():
            made.close()

    return close
