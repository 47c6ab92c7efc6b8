"""requests: every session of the process, whatever adapters are mounted, and an adapter for who prefers to be explicit.

A call is planned around an adapter's ``send``, hop by hop: above that, ``Session`` deals with cookies and redirects by
the logical name; below, urllib3 goes to the instance. Adapters of the application's own are covered when a session
first picks them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest, Response, Session
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.structures import CaseInsensitiveDict

from graymw.clients import urllib3
from graymw.clients.containment import contained
from graymw.clients.environment_proxies import is_environment_proxy
from graymw.clients.patching import Patches
from graymw.clients.urllib3_calls import PLANNED, Planned, failure_of
from graymw.clients.urllib3_pools import authority
from graymw.errors import GrayUnavailableError
from graymw.runtime import outbound
from graymw.runtime.health import Failure
from graymw.runtime.outbound import Outgoing

_ORIGIN: Final = re.compile(r"https?(?:\+[a-z]+)?://[^/?#]*", re.IGNORECASE)
"""Of URLs that are calls: adapters may also be mounted for ``file://`` or ``mock://``."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PLANNED: Final = "_graymw_planned"
"""Attribute of the copy that is sent: the URL it was planned for."""

_patches: Final = Patches()
_covered: Final[set[type]] = set()


class GrayAdapter(HTTPAdapter):
    """Carries and routes what is sent over it: ``session.mount("http://", GrayAdapter())``.

    Takes what ``requests.adapters.HTTPAdapter`` takes.
    """

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send one request.

        Raises:
            GrayUnavailableError: No instance may take the call.
        """
        return _send(super().send, self, request, args, kwargs)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Pool of the instance where the call goes to one, so that urllib3 itself need not be patched."""
        return urllib3.pool_of_call(super().get_connection_with_tls_context(*args, **kwargs))


def install() -> None:
    """Cover every session of the process."""
    urllib3.install()
    _patches.replace(Session, "get_adapter", _covering)
    _cover(HTTPAdapter)
    _patches.active = True


def uninstall() -> None:
    """Give sessions and adapters back as they were."""
    _patches.restore()
    _covered.clear()


def _covering(original: Any) -> Any:
    @functools.wraps(original)
    def get_adapter(session: Session, url: str) -> BaseAdapter:
        adapter: BaseAdapter = original.__get__(session)(url)
        if _patches.active and type(adapter) not in _covered:
            try:
                _cover(type(adapter))
            except Exception as error:  # noqa: BLE001 - the call must go out
                contained("requests", error)
        return adapter

    return get_adapter


def _cover(adapter: type) -> None:
    """Plan around the ``send`` of a class of adapters, where it defines one of its own."""
    _covered.add(adapter)
    owner = next((each for each in adapter.__mro__ if "send" in vars(each)), None)
    if owner is not None and owner not in (BaseAdapter, GrayAdapter):
        _patches.replace(owner, "send", _planning)


def _planning(original: Any) -> Any:
    @functools.wraps(original)
    def send(adapter: BaseAdapter, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        inner = original.__get__(adapter)
        if not _patches.active:
            response: Response = inner(request, *args, **kwargs)
            return response
        return _send(inner, adapter, request, args, kwargs)

    return send


def _send(
    inner: Any, adapter: BaseAdapter, request: PreparedRequest, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Response:
    """Send a copy: the request belongs to the application, which may send it again or from several threads."""
    response: Response
    outgoing = _begin(adapter, request)
    if outgoing is None:
        response = inner(request, *args, **kwargs)
        return response
    while True:
        sent, planned = _prepared(adapter, request, outgoing)
        options = kwargs
        if planned.instance is not None and isinstance(kwargs.get("proxies"), Mapping):
            options = {**kwargs, "proxies": _without_environment(kwargs["proxies"])}
        reset = PLANNED.set(planned)
        token = outgoing.attach()
        try:
            response = inner(sent, *args, **options)
        except BaseException as error:
            again = _after(error, outgoing, planned, sent)
            if again is None:
                if isinstance(error, requests.RequestException) and error.request is sent:
                    error.request = request
                raise
            outgoing = again
        else:
            break
        finally:
            outgoing.detach(token)
            PLANNED.reset(reset)
    outgoing.finish(status=response.status_code)
    if getattr(response, "request", None) is sent:
        response.request = request
        if response.url == sent.url:
            response.url = request.url  # type: ignore[assignment]
    return response


def _after(error: BaseException, outgoing: Outgoing, planned: Planned, sent: PreparedRequest) -> Outgoing | None:
    """The next plan of a call that failed; None: its error is the caller's."""
    failure: Failure | None = None
    replayable = False
    try:
        if isinstance(error, requests.ConnectionError) and error.args and getattr(planned.pool, "proxy", None) is None:
            failure = failure_of(error.args[0])
        replayable = failure is not None and planned.may_follow(failure, sent.method or "GET", sent.body)
    except Exception as fault:  # noqa: BLE001 - the caller is told what the library said
        contained("requests", fault)
    return outgoing.failed(error, failure, replayable=replayable)


def _begin(adapter: BaseAdapter, request: PreparedRequest) -> Outgoing | None:
    try:
        url = request.url or ""
        found = _ORIGIN.match(url)
        if found is None or getattr(request, _PLANNED, None) == url:
            return None
        scheme, host, port = _origin(found[0])
        return outbound.begin(
            method=request.method or "GET",
            scheme=scheme,
            host=host,
            port=port,
            path=url[found.end() :] or "/",
            baggage=_baggage(request.headers),
            instrumented=isinstance(adapter, HTTPAdapter) and urllib3.sends_traced(),
        )
    except GrayUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("requests", error)
        return None


@lru_cache(maxsize=512)
def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(scheme)


def _baggage(headers: Any) -> str | None:
    if not _is_listed(headers):
        return urllib3.baggage_of(headers)
    _, value = headers._store.get("baggage") or ("", None)  # noqa: SLF001
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _carrying(headers: Any, outgoing: Outgoing) -> CaseInsensitiveDict[Any]:
    """A copy with what the call carries."""
    if not _is_listed(headers):
        return CaseInsensitiveDict(urllib3.carried_headers((headers or {}).items(), outgoing))
    sent: CaseInsensitiveDict[Any] = object.__new__(CaseInsensitiveDict)
    fields = sent._store = headers._store.copy()  # type: ignore[attr-defined]  # noqa: SLF001
    for name in outgoing.remove:
        fields.pop(name, None)
    for name, value in outgoing.headers:
        fields[name] = (name, value)
    return sent


def _is_listed(headers: Any) -> bool:
    """Whether headers are kept by lower-case name as we know it, which spares most of the time of reading them."""
    return type(headers) is CaseInsensitiveDict and hasattr(headers, "_store")


def _prepared(adapter: BaseAdapter, request: PreparedRequest, outgoing: Outgoing) -> tuple[PreparedRequest, Planned]:
    url = request.url or ""
    instance = outgoing.instance
    if instance is not None and instance.tls and url[:7].lower() == "http://" and isinstance(adapter, HTTPAdapter):
        url = f"https{url[4:]}"  # so that requests verifies as it does for any https URL
    found = _ORIGIN.match(url)
    planned = Planned(_origin(found[0] if found else url), instance)
    if outgoing.changes_nothing:
        return request, planned
    try:
        sent = object.__new__(type(request))
        sent.__dict__.update(request.__dict__)
        sent.url = url
        sent.__dict__[_PLANNED] = url
        sent.headers = _carrying(request.headers, outgoing)
        if instance is not None and "host" not in sent.headers:
            sent.headers["Host"] = authority(*planned.origin)
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("requests", error)
        return request, planned
    return sent, planned


def _without_environment(proxies: Mapping[str, str]) -> dict[str, str]:
    return {scheme: url for scheme, url in proxies.items() if not (url and is_environment_proxy(url))}
