"""What the middleware itself adds to or says in a response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from graymw.core.context import GrayContext
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


class Answer(NamedTuple):
    """A whole response of ours."""

    status: int
    reason: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def text_headers(self) -> list[tuple[str, str]]:
        """Headers as WSGI takes them."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]


def unavailable(error: GrayUnavailableError) -> Answer:
    """For a request that needs an instance nobody offers."""
    told = {"error": "gray_unavailable", "service": error.service, "version": error.version}
    return _answer(503, "Service Unavailable", told, (b"retry-after", b"1"))


def misdirected(served_version: str, gray: GrayContext) -> Answer:
    """For a request meant for another version (RFC 9110, §15.5.20)."""
    told = {"error": "gray_misdirected", "served": served_version, "decided": gray.version()}
    return _answer(421, "Misdirected Request", told)


def _answer(status: int, reason: str, told: Mapping[str, str | None], *headers: tuple[bytes, bytes]) -> Answer:
    body = json.dumps(told).encode()
    length = (b"content-length", str(len(body)).encode())
    return Answer(status, reason, [(b"content-type", b"application/json"), length, *headers], body)
