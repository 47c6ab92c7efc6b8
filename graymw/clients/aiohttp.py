"""aiohttp: every session of the process, and a client middleware for who prefers to be explicit.

The middleware is the innermost, so it sees each hop as it goes out, whatever middlewares of the application and trace
hooks of an OpenTelemetry instrumentation did before. Connections are pooled by what they are connected to, so only the
request's URL is turned to the instance while it is being sent; responses, cookies and redirects know the logical one.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientHandlerType,
    ClientOSError,
    ClientProxyConnectionError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ConnectionTimeoutError,
    ServerDisconnectedError,
)
from yarl import URL

from graymw.clients.containment import contained
from graymw.clients.environment_proxies import is_environment_proxy
from graymw.clients.patching import Patches
from graymw.core.instances import Instance
from graymw.errors import GrayUnavailableError
from graymw.runtime import outbound
from graymw.runtime.health import Failure
from graymw.runtime.outbound import Outgoing

_SCHEMES: Final = {"ws": "http", "wss": "https"}
_OVER_TLS: Final = {"http": "https", "ws": "wss"}

_ABOUT_TLS_OR_PROXIES: Final = (
    ClientProxyConnectionError,
    ClientConnectorSSLError,
    ClientConnectorCertificateError,
    ClientSSLError,
)

_patches: Final = Patches()


async def gray_middleware(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Carries and routes one hop: ``aiohttp.ClientSession(middlewares=[..., gray_middleware])``, as the last.

    Raises:
        GrayUnavailableError: No instance may take the call.
    """
    outgoing = _begin(request)
    if outgoing is None:
        return await handler(request)
    logical = request.url
    while True:
        _prepare(request, outgoing)
        token = outgoing.attach()
        try:
            response = await handler(request)
        except BaseException as error:
            again = await _after(error, outgoing, request)
            if again is None:
                raise
            outgoing = again
        else:
            break
        finally:
            outgoing.detach(token)
            routed = request.url is not logical
            request.url = logical
    if routed and hasattr(response, "_request_info"):
        response._request_info = request.request_info  # noqa: SLF001
    outgoing.finish(status=response.status)
    return response


def install() -> None:
    """Cover every session of the process."""
    _patches.replace(ClientSession, "_request", _covering)
    _patches.active = True


def uninstall() -> None:
    """Give sessions back as they were."""
    _patches.restore()


def _covering(original: Any) -> Any:
    @functools.wraps(original)
    def _request(session: ClientSession, *args: Any, **kwargs: Any) -> Any:
        if _patches.active:
            given = kwargs.get("middlewares")
            middlewares = session._middlewares if given is None else given  # noqa: SLF001
            if gray_middleware not in middlewares:
                kwargs["middlewares"] = (*middlewares, gray_middleware)
        return original.__get__(session)(*args, **kwargs)

    return _request


def _begin(request: ClientRequest) -> Outgoing | None:
    try:
        url = request.url
        values = request.headers.getall("baggage", None)
        return outbound.begin(
            method=request.method,
            scheme=_SCHEMES.get(url.scheme, url.scheme),
            host=url.raw_host or "",
            port=url.port,
            path=url.raw_path,
            baggage=",".join(values) if values else None,
        )
    except GrayUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("aiohttp", error)
        return None


async def _after(error: BaseException, outgoing: Outgoing, request: ClientRequest) -> Outgoing | None:
    """The next plan of a call that failed; None: its error is the caller's."""
    failure: Failure | None = None
    replayable = False
    try:
        failure = _failure(error) if request.proxy is None else None
        if failure == "broken":
            await request.close()  # what is still being written belongs to the try before
        replayable = failure is not None and not getattr(request._body, "consumed", False)  # noqa: SLF001
    except Exception as fault:  # noqa: BLE001 - the caller is told what the library said
        contained("aiohttp", fault)
    return outgoing.failed(error, failure, replayable=replayable)


def _failure(error: BaseException) -> Failure | None:
    """How a call failed at its instance; None where the error does not say so."""
    if isinstance(error, ClientConnectorError):
        return None if isinstance(error, _ABOUT_TLS_OR_PROXIES) else "refused"
    if isinstance(error, ConnectionTimeoutError):
        return "unanswered"
    return "broken" if isinstance(error, (ClientOSError, ServerDisconnectedError)) else None


def _prepare(request: ClientRequest, outgoing: Outgoing) -> None:
    """Each hop has a request of its own, made by the session: it may be changed."""
    try:
        headers = request.headers
        for name in outgoing.remove:
            headers.popall(name, None)
        for name, value in outgoing.headers:
            headers[name] = value
        if outgoing.instance is not None:
            _address(request, outgoing.instance)
    except Exception as error:  # noqa: BLE001 - the call must go out
        contained("aiohttp", error)
        outgoing.go_as_addressed()


def _address(request: ClientRequest, instance: Instance) -> None:
    """Send to an instance. ``Host`` stands in the headers already, and TLS is told the logical name."""
    url = request.url
    scheme = _OVER_TLS.get(url.scheme, url.scheme) if instance.tls else url.scheme
    host = f"[{instance.host}]" if ":" in instance.host else instance.host
    if request.proxy is not None and is_environment_proxy(str(request.proxy)):
        request.update_proxy(None, None, None)
    if scheme in ("https", "wss") and not request.server_hostname:
        request.server_hostname = url.raw_host
    request.url = URL.build(
        scheme=scheme,
        host=host,
        port=instance.port,
        path=url.raw_path,
        query_string=url.raw_query_string,
        encoded=True,
    )
