"""What httpx and httpx2 share. Neither is imported here: each has an adapter that brings its own module.

A call is planned per hop, around the transport and so above an OpenTelemetry instrumentation of it, and below the
client's handling of cookies, redirects and authentication, which therefore know the logical name only. What is sent
is a copy: the request belongs to the application, which may be sending it from several tasks at once.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar, Final, Self

from graymw.clients.containment import contained
from graymw.clients.environment_proxies import is_environment_proxy
from graymw.clients.httpx_errors import Errors, proxy_of
from graymw.clients.httpx_headers import headers_of
from graymw.clients.patching import Patches, TracedWatch, is_traced
from graymw.core.instances import Instance
from graymw.errors import GrayUnavailableError
from graymw.runtime import outbound
from graymw.runtime.outbound import Outgoing

_OVER_TLS: Final = {"http": "https", "ws": "wss"}
_TLS_SCHEMES: Final = ("https", "wss")
_PLANNED: Final = "_graymw_planned"
"""Attribute of the copy that is sent: the URL it was planned for."""

_NESTING: Final = 3
"""How deep a transport of the application's may wrap the library's own."""


class Family:
    """One of the libraries.

    Args:
        library: The imported module.
    """

    def __init__(self, library: ModuleType) -> None:
        self._name = library.__name__
        self._sync_transport = library.HTTPTransport
        self._network = (library.HTTPTransport, library.AsyncHTTPTransport)
        self._in_process = (library.MockTransport, library.ASGITransport, library.WSGITransport)
        self._errors = Errors(library)
        self._headers = headers_of(library.Headers)
        self._network_traced = TracedWatch()

    def send(self, transport: Any, request: Any, direct: Any = None) -> Any:
        """Send one request over a transport.

        Args:
            direct: Transport that goes through no proxy of the environment, where ``transport`` may do so.

        Raises:
            GrayUnavailableError: No instance may take the call.
        """
        planned = self._plan(transport, request, direct)
        if planned is None:
            return transport.handle_request(request)
        while True:
            outgoing, way, sent = planned
            token = outgoing.attach()
            try:
                response = way.handle_request(sent)
            except BaseException as error:
                again = self._after(error, outgoing, way, request)
                if again is None:
                    raise
                planned = self._prepared(again, transport, request, direct)
            else:
                break
            finally:
                outgoing.detach(token)
        outgoing.finish(status=response.status_code)
        if sent.stream is not request.stream:
            _take_over_body(request, sent)
        return response

    async def send_async(self, transport: Any, request: Any, direct: Any = None) -> Any:
        """As ``send``, for asynchronous transports."""
        planned = self._plan(transport, request, direct)
        if planned is None:
            return await transport.handle_async_request(request)
        while True:
            outgoing, way, sent = planned
            token = outgoing.attach()
            try:
                response = await way.handle_async_request(sent)
            except BaseException as error:
                again = self._after(error, outgoing, way, request)
                if again is None:
                    raise
                planned = self._prepared(again, transport, request, direct)
            else:
                break
            finally:
                outgoing.detach(token)
        outgoing.finish(status=response.status_code)
        if sent.stream is not request.stream:
            _take_over_body(request, sent)
        return response

    def hops(self, patches: Patches, explicit: type) -> Callable[[Any], Any]:
        """What to replace a client's ``_transport_for_url`` with.

        Args:
            explicit: Transport class that plans by itself.
        """

        def make(original: Any) -> Any:
            def _transport_for_url(client: Any, url: Any) -> Any:
                transport = original(client, url)
                if not patches.active or isinstance(transport, explicit):
                    return transport
                return _Hop(self, transport, client._transport)  # noqa: SLF001

            return _transport_for_url

        return make

    def _plan(self, transport: Any, request: Any, direct: Any) -> tuple[Outgoing, Any, Any] | None:
        """The one place where an instance is chosen. None: the call is left alone, or a layer above planned it."""
        try:
            url = request.url
            if getattr(request, _PLANNED, None) is url:
                return None
            outgoing = outbound.begin(
                method=request.method,
                scheme=url.scheme,
                host=url.host,
                port=url.port,
                path=url.raw_path.decode("ascii"),
                baggage=self._headers.baggage(request.headers),
                instrumented=self._is_traced(transport),
            )
        except GrayUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the call must go out
            contained(self._name, error)
            return None
        return None if outgoing is None else self._prepared(outgoing, transport, request, direct)

    def _prepared(self, outgoing: Outgoing, transport: Any, request: Any, direct: Any) -> tuple[Outgoing, Any, Any]:
        """A plan, the transport to send over, and what to send: a copy."""
        if outgoing.changes_nothing:
            return outgoing, transport, request
        try:
            sent = object.__new__(type(request))
            sent.__dict__.update(request.__dict__)
            sent.headers = self._headers.merged(request.headers, outgoing)
            if isinstance(transport, self._in_process):
                outgoing.go_as_addressed()
            if outgoing.instance is not None:
                _address(sent, outgoing.instance)
                if direct is not None and direct is not transport and _is_environment_proxy(transport):
                    transport = direct
            sent.__dict__[_PLANNED] = sent.url
        except Exception as error:  # noqa: BLE001 - the call must go out
            contained(self._name, error)
            outgoing.go_as_addressed()
            return outgoing, transport, request
        return outgoing, transport, sent

    def _after(self, error: BaseException, outgoing: Outgoing, way: Any, request: Any) -> Outgoing | None:
        """The next plan of a call that failed; None: its error is the caller's."""
        try:
            failure = self._errors.failure(error, way)
            replayable = failure is not None and self._errors.is_replayable(request.stream, failure)
        except Exception as fault:  # noqa: BLE001 - the caller is told what the library said
            contained(self._name, fault)
            failure, replayable = None, False
        return outgoing.failed(error, failure, replayable=replayable)

    def _is_traced(self, transport: Any) -> bool:
        """Whether an OpenTelemetry instrumentation below makes the CLIENT span."""
        own = getattr(transport, "__dict__", {})
        if "handle_request" in own or "handle_async_request" in own:
            return is_traced(own.get("handle_request")) or is_traced(own.get("handle_async_request"))
        network_traced = self._network_traced(self._sync_transport.__dict__["handle_request"])
        if type(transport) in self._network:
            return network_traced
        if type(transport).__module__.startswith("opentelemetry.instrumentation."):
            return True
        return network_traced and self._reaches_network(transport, _NESTING)

    def _reaches_network(self, transport: Any, depth: int) -> bool:
        if isinstance(transport, self._network):
            return True
        inner = getattr(transport, "__dict__", {}).values() if depth else ()
        return any(
            self._reaches_network(each, depth - 1)
            for each in inner
            if hasattr(each, "handle_request") or hasattr(each, "handle_async_request")
        )


class _Hop:
    """Transport of one hop, as a client sees it."""

    __slots__ = ("_direct", "_family", "_transport")

    def __init__(self, family: Family, transport: Any, direct: Any) -> None:
        self._family = family
        self._transport = transport
        self._direct = direct

    def handle_request(self, request: Any) -> Any:
        """Send one request."""
        return self._family.send(self._transport, request, self._direct)

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request."""
        return await self._family.send_async(self._transport, request, self._direct)


class Wrapping:
    """A transport that plans what is sent over another one.

    Args:
        transport: The transport to send over.
    """

    family: ClassVar[Family]

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def handle_request(self, request: Any) -> Any:
        """Send one request.

        Raises:
            GrayUnavailableError: No instance may take the call.
        """
        return self.family.send(self._transport, request)

    def close(self) -> None:
        """Close the transport inside."""
        self._transport.close()

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._transport.__exit__(*exc_info)


class AsyncWrapping:
    """As ``Wrapping``, for asynchronous transports."""

    family: ClassVar[Family]

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request.

        Raises:
            GrayUnavailableError: No instance may take the call.
        """
        return await self.family.send_async(self._transport, request)

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._transport.__aexit__(*exc_info)


def _address(sent: Any, instance: Instance) -> None:
    """Send to an instance. ``Host`` stands in the headers already, and TLS is told the logical name."""
    url = sent.url
    scheme = _OVER_TLS.get(url.scheme, url.scheme) if instance.tls else url.scheme
    sent.url = readdressed(url, scheme, instance)
    if scheme in _TLS_SCHEMES:
        sent.extensions = {"sni_hostname": url.raw_host.decode("ascii"), **sent.extensions}


def readdressed(url: Any, scheme: str, instance: Instance) -> Any:
    """A URL with another scheme and authority; the library's own ``copy_with`` parses everything anew (20 µs)."""
    reference: Any = getattr(url, "_uri_reference", None)
    if vars(url).keys() == {"_uri_reference"} and hasattr(reference, "_replace") and instance.host.isascii():
        changed = object.__new__(type(url))
        changed._uri_reference = reference._replace(scheme=scheme, host=instance.host, port=instance.port)
        return changed
    return url.copy_with(scheme=scheme, host=instance.host, port=instance.port)


def _is_environment_proxy(transport: Any) -> bool:
    proxy = proxy_of(transport)
    if proxy is None:
        return False
    port = f":{proxy.port}" if proxy.port else ""
    return is_environment_proxy(f"{proxy.scheme.decode()}://{proxy.host.decode()}{port}")


def _take_over_body(request: Any, sent: Any) -> None:
    """A transport inside the process read the body of the copy: a redirect must find it read, too."""
    request.stream = sent.stream
    if "_content" in sent.__dict__:
        request._content = sent._content  # noqa: SLF001
