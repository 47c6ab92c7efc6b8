"""What a request tells, protocol-free."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EMPTY: Final[Mapping[str, str]] = MappingProxyType({})


def decimal(text: str | None) -> int | None:
    """Integer of a plain decimal (``-?[0-9]{1,18}``, fits 64 bits), None for anything else."""
    if text is None or len(text) > 18 or not text.isascii():
        return None
    if text.isdigit() or (text[:1] == "-" and text[1:].isdigit()):
        return int(text)
    return None


class RequestFacts:
    """Facts of one request, as rules read them. Header names are lower case; absent facts are None.

    Subclasses of the adapters fill the slots when a rule first reads them.

    Attributes:
        path: Decoded path without the query.
        host: Lower case, without the port.
        ip: Address of the client as text.
        issued: Value of a ``gray_id`` cookie that deciding made up and the response has to set.
    """

    __slots__ = (
        "cookies", "device", "headers", "host", "ip", "issued", "method", "path", "query", "region", "user",
    )  # fmt: skip

    method: str
    path: str
    host: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    query: Mapping[str, str]
    user: str | None
    region: str | None
    device: str | None
    ip: str | None
    issued: str | None

    def __init__(
        self,
        *,
        method: str = "GET",
        path: str = "/",
        host: str = "",
        headers: Mapping[str, str] = EMPTY,
        cookies: Mapping[str, str] = EMPTY,
        query: Mapping[str, str] = EMPTY,
        user: str | None = None,
        region: str | None = None,
        device: str | None = None,
        ip: str | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.host = host
        self.headers = headers
        self.cookies = cookies
        self.query = query
        self.user = user
        self.region = region
        self.device = device
        self.ip = ip
        self.issued = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.method} {self.host}{self.path} user={self.user!r})"
