"""One request to an application, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

LOOPBACK = "127.0.0.1"
OUTSIDE = "203.0.113.9"
"""An address of the documentation range (RFC 5737): nobody inside has it."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def scope_of(path: str, headers: Mapping[str, str], peer: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"orders"), *((name.encode(), value.encode()) for name, value in headers.items())],
        "server": ("127.0.0.1", 8000),
        "client": (peer, 4711),
        "state": {},
    }


async def ask_asgi(app: Any, path: str, headers: Mapping[str, str], peer: str = LOOPBACK) -> Answer:
    """One HTTP request to an ASGI application."""
    sent: list[Any] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_of(path, headers, peer), receive, send)
    pairs = [(name.decode(), value.decode()) for name, value in sent[0].get("headers", ())]
    return Answer(sent[0]["status"], pairs, b"".join(message.get("body", b"") for message in sent[1:]))


async def open_websocket(app: Any, path: str, headers: Mapping[str, str], peer: str = LOOPBACK) -> list[Any]:
    """One WebSocket that the client closes after the first message it gets; what the application sent."""
    sent: list[Any] = []
    enough = asyncio.Event()
    incoming = [{"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        await enough.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "websocket.send":
            enough.set()

    scope = {**scope_of(path, headers, peer), "type": "websocket", "scheme": "ws", "subprotocols": []}
    del scope["method"]
    await app(scope, receive, send)
    return sent


def ask_wsgi(app: Any, path: str, headers: Mapping[str, str], peer: str = LOOPBACK, *, iterated: bool = True) -> Answer:
    """One request to a WSGI application, its body read unless it should not be, and closed."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": peer,
        "HTTP_HOST": "orders",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()},
    }
    began: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        began[:] = [status, headers]
        return began.append

    body = app(environ, start_response)
    try:
        content = b"".join(body) if iterated else b""
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    return Answer(int(began[0][:3]) if began else 0, began[1] if began else [], content)
