"""Real HTTP servers on loopback that tell what arrived."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Arrived:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


@dataclass
class Echo:
    """A server and what arrived there.

    Attributes:
        name: What it answers with.
        connections: How many were accepted.
        server_names: What TLS clients asked for.
        drops: Whether it hangs up instead of answering.
    """

    name: str
    port: int = 0
    connections: int = 0
    arrived: list[Arrived] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    drops: bool = False

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def only(self) -> Arrived:
        assert len(self.arrived) == 1, f"{self.name} got {len(self.arrived)} requests"
        return self.arrived[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 20

    def setup(self) -> None:
        self.server.echo.connections += 1
        super().setup()

    def _answer(self) -> None:
        body = self._body()
        self.server.echo.arrived.append(Arrived(self.command, self.path, self.headers.items(), body))
        url = urlsplit(self.path)
        if url.path == "/drop" or self.server.echo.drops:
            self.close_connection = True
            return
        if url.path == "/redirect":
            query = parse_qs(url.query)
            self._send(int(query.get("status", ["302"])[0]), b"", Location=query["to"][0])
        elif url.path == "/cookie":
            self._send(200, b"{}", Set_Cookie="visit=1; Path=/")
        elif url.path == "/chunks":
            self._send_chunks([b"one,", b"two,", b"three"])
        else:
            told = {"server": self.server.echo.name, "target": self.path, "body": body.decode("latin-1")}
            self._send(int(url.path[8:]) if url.path.startswith("/status/") else 200, json.dumps(told).encode())

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _answer

    def do_CONNECT(self) -> None:
        self.server.echo.arrived.append(Arrived("CONNECT", self.path, self.headers.items(), b""))
        self._send(502, b"")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_chunks(self, chunks: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in [*chunks, b""]:
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    echo: Echo

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is not an error here."""


@contextmanager
def serving(name: str, tls: ssl.SSLContext | None = None) -> Iterator[Echo]:
    """A server that runs inside the ``with``."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.echo = echo = Echo(name, server.server_address[1])
    if tls is not None:
        tls.sni_callback = lambda _, server_name, __: echo.server_names.append(server_name)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield echo
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
