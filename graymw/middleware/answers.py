"""What the middleware itself adds to or says in a response."""

from __future__ import annotations

import json
from typing import Final

from graymw.errors import GrayUnavailableError

SET_COOKIE: Final = b"set-cookie"
COOKIE_NAME: Final = "gray_id"


def cookie_header(value: str, *, secure: bool, max_age: int) -> bytes:
    """``Set-Cookie`` value that keeps a visitor in the same bucket.

    Args:
        max_age: Seconds until the browser forgets it.
    """
    parts = [f"{COOKIE_NAME}={value}", f"Max-Age={max_age}", "Path=/", "HttpOnly", "SameSite=Lax"]
    if secure:
        parts.append("Secure")
    return "; ".join(parts).encode("latin-1")


def unavailable(error: GrayUnavailableError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body for a request that needs an instance nobody offers."""
    body = json.dumps({"error": "gray_unavailable", "service": error.service, "version": error.version}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return 503, [*headers, (b"retry-after", b"1")], body
