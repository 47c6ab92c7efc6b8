"""An OTLP/HTTP receiver on loopback: a receiver for the demo, not a backend.

It takes what the services export, keeps the spans in memory for the demo to read, and hands each request on unchanged
to whoever asked for it. Source: OTLP specification 1.x, "OTLP/HTTP" (binary protobuf; JSON is refused).
"""

from __future__ import annotations

import http.server
import threading
import zlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Self

from graymw.demo.spans import SpanStore, UndecodableError, decode

PATH: Final = "/v1/traces"
_MAX_BODY: Final = 32 * 1024 * 1024
_PROTOBUF: Final = "application/x-protobuf"

PassOn = Callable[[bytes, Mapping[str, str]], None]
"""Takes the body and the headers that describe it (content type and encoding)."""


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus) -> None:
        self.status = status


class Receiver:
    """Listens while used as a context manager.

    Args:
        store: Where the spans go.
        pass_on: Called with every request that was understood.
    """

    def __init__(self, store: SpanStore, pass_on: PassOn | None = None) -> None:
        self._store = store
        self._pass_on = pass_on
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="graymw-demo-otlp", daemon=True
        )

    @property
    def url(self) -> str:
        """Value for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Read one export request and hand it on.

        Raises:
            UndecodableError: It is no OTLP request.
        """
        plain = _inflated(body) if headers.get("content-encoding") == "gzip" else body
        spans = list(decode(plain))
        if self._pass_on is not None:  # before the store: who waits for the spans may rely on it
            self._pass_on(body, headers)
        self._store.add(spans)


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, _MAX_BODY)
    except zlib.error as error:
        raise _RefusedError(HTTPStatus.BAD_REQUEST) from error
    if inflater.unconsumed_tail:
        raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return plain


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)

    def handle_error(self, *_: object) -> None:
        """A service that ends in mid-request is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        status = HTTPStatus.OK
        try:
            self._take(self._body())
        except _RefusedError as refused:
            status = refused.status
        except UndecodableError:
            status = HTTPStatus.BAD_REQUEST
        self.send_response(status)
        self.send_header("content-type", _PROTOBUF)
        self.send_header("content-length", "0")  # an empty ExportTraceServiceResponse: all was taken
        self.end_headers()

    def _take(self, body: bytes) -> None:
        if self.path != PATH:
            raise _RefusedError(HTTPStatus.NOT_FOUND)
        headers = {name: self.headers[name] for name in ("content-type", "content-encoding") if name in self.headers}
        if headers.get("content-type") != _PROTOBUF:
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        self.server.receiver.take(body, headers)

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _MAX_BODY:
            self.close_connection = True
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED if not length else HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self.rfile.read(int(length))

    def log_message(self, *_: Any) -> None:
        """Nothing: the demo's output belongs to the demo."""
