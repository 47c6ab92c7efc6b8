"""urllib3: every connection pool of the process, and the way from a logical name to an instance for requests, too.

A call is planned where a pool sends it, so pools made by hand count as well as a ``PoolManager``'s. Its retries and
redirects within the pool belong to the same call; redirects to other hosts are followed by the ``PoolManager`` and
come in as calls of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from urllib3 import HTTPConnectionPool, HTTPHeaderDict
from urllib3.util import parse_url

from graymw.clients.containment import contained
from graymw.clients.patching import Patches, TracedWatch, is_traced
from graymw.clients.urllib3_calls import PLANNED, Planned, failure_of
from graymw.clients.urllib3_pools import DEFAULT_PORTS, close_instances, forwards, routed
from graymw.errors import GrayUnavailableError
from graymw.runtime import outbound
from graymw.runtime.health import Failure
from graymw.runtime.outbound import Outgoing

_patches: Final = Patches()
_traced: Final = TracedWatch()


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
    if planned is None or planned.pool is not None or forwards(pool, planned):
        return pool
    planned.pool = routed(pool, "/", "/", {"host": ""}, planned)[0]
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
            if planned is not None:
                planned.once_more(args[0] if args else kwargs.get("retries"))
            return original.__get__(pool)(method, url, body, headers, *args, **kwargs)
        origin, path = _target(pool, url)
        headers = pool.headers if headers is None else headers
        if planned is not None and planned.origin == origin:
            planned.pool = pool
            if planned.instance is not None:
                planned.pool, url, headers = routed(pool, url, path, headers, planned)
            return original.__get__(planned.pool)(method, url, body, headers, *args, **kwargs)
        outgoing = _begin(method, origin, path, headers, traced)
        if outgoing is None:
            return original.__get__(pool)(method, url, body, headers, *args, **kwargs)
        return _sent(original, pool, outgoing, _Asked(method, url, body, headers, args, kwargs, origin, path))

    return urlopen


class _Asked(NamedTuple):
    """What a pool was asked to send."""

    method: str
    url: str
    body: Any
    headers: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    origin: tuple[str, str, int | None]
    path: str


def _sent(original: Any, pool: HTTPConnectionPool, outgoing: Outgoing, asked: _Asked) -> Any:
    """Send as planned, and as planned anew where that fails."""
    while True:
        planned = Planned(asked.origin, outgoing.instance, pool)
        url, headers = asked.url, _carrying(asked.headers, outgoing)
        if outgoing.instance is not None:
            planned.pool, url, headers = routed(pool, url, asked.path, headers, planned)
        reset = PLANNED.set(planned)
        token = outgoing.attach()
        try:
            response = original.__get__(planned.pool)(
                asked.method, url, asked.body, headers, *asked.args, **asked.kwargs
            )
        except BaseException as error:
            again = _after(error, outgoing, planned, asked)
            if again is None:
                raise
            outgoing = again
        else:
            outgoing.finish(status=response.status)
            return response
        finally:
            outgoing.detach(token)
            PLANNED.reset(reset)


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


def _after(error: BaseException, outgoing: Outgoing, planned: Planned, asked: _Asked) -> Outgoing | None:
    """The next plan of a call that failed; None: its error is the caller's."""
    failure: Failure | None = None
    replayable = False
    try:
        failure = failure_of(error) if planned.pool.proxy is None else None
        replayable = failure is not None and planned.may_follow(failure, asked.method, asked.body)
    except Exception as fault:  # noqa: BLE001 - the caller is told what the library said
        contained("urllib3", fault)
    return outgoing.failed(error, failure, replayable=replayable)


def _target(pool: HTTPConnectionPool, url: str) -> tuple[tuple[str, str, int | None], str]:
    """What a call is addressed to, and its path. Through a proxy that forwards, the URL tells rather than the pool."""
    if url.startswith("/"):
        return (pool.scheme, pool.host, pool.port or DEFAULT_PORTS.get(pool.scheme)), url
    parsed = parse_url(url)
    scheme = parsed.scheme or pool.scheme
    port = parsed.port or DEFAULT_PORTS.get(scheme)
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


def _closing(original: Any) -> Any:
    @functools.wraps(original)
    def close(pool: HTTPConnectionPool) -> None:
        original.__get__(pool)()
        close_instances(pool)

    return close
