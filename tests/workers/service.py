"""An application that every server can run: ``service:wsgi`` and ``service:asgi``; settings from the environment.

Answers the process and the version decided for it; ``/SECONDS`` after that time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from typing import Any

import graymw


def _told() -> bytes:
    return f"{os.getpid()} {graymw.current().version()}".encode()


def _wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    time.sleep(float(environ["PATH_INFO"].strip("/") or 0))
    start_response("200 OK", [("content-type", "text/plain")])
    return [_told()]


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(float(scope["path"].strip("/") or 0))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": _told()})


wsgi = graymw.install(_wsgi)
asgi = graymw.install(_asgi)
