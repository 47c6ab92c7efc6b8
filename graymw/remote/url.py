"""URLs of config centres and registries: ``consul+https://host:8500/KEY?datacenter=dc1``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from graymw.errors import Problem, SettingsError
from graymw.settings.redaction import redacted

_SHAPE: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9.-]*)(?:\+(?P<tls>https|http|tls|ssl))?:", re.IGNORECASE)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class BackendUrl:
    """A URL, taken apart.

    Attributes:
        scheme: What stands before a ``+``, in lower case.
        secure: Whether TLS is spoken.
        hosts: Host and port of each server; an IPv6 address without brackets.
        path: Behind the first slash, decoded; empty without one.
        query: Parameters, decoded.
        user: User name of the URL, decoded; empty without one.
        password: Its password.
        shown: The URL for people, without credentials.
    """

    scheme: str
    secure: bool
    hosts: tuple[tuple[str, int], ...]
    path: str
    query: Mapping[str, str]
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    shown: str = ""

    @property
    def base_urls(self) -> tuple[str, ...]:
        """Where an HTTP client reaches each server."""
        scheme = "https" if self.secure else "http"
        return tuple(
            f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}" for host, port in self.hosts
        )


def parse_backend_url(
    url: str,
    *,
    setting: str,
    default_port: int,
    parameters: Collection[str] = (),
    example: str,
    host_needed: bool = True,
) -> BackendUrl:
    """Take a URL apart.

    Args:
        url: As the setting holds it.
        setting: Name of the setting, for errors.
        default_port: Port of a host without one.
        parameters: Query parameters that mean something.
        example: A right URL, for errors.
        host_needed: Whether a URL without a host is refused.

    Raises:
        SettingsError: It is no such URL, or has a parameter that means nothing.
    """

    def refuse(message: str, mend: str = f"write it like {example}") -> NoReturn:
        raise SettingsError([Problem(setting, message, mend)])

    shape = _SHAPE.match(url)
    if shape is None:
        refuse("it is no URL")
    try:
        parts = urlsplit(f"x:{url[shape.end() :]}")
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        refuse("it is no URL")
    if parts.fragment:
        refuse("a part behind # means nothing here")
    for key, _ in query:
        if key not in parameters:
            close = difflib.get_close_matches(key, parameters, 1)
            known = f"known are {', '.join(sorted(parameters))}" if parameters else "leave it out"
            refuse(f"there is no parameter {key}", f"did you mean {close[0]}?" if close else known)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    found = []
    for written in hosts.split(",") if hosts else []:
        host = _HOST.fullmatch(written.strip())
        port = int(host["port"] or default_port) if host else 0
        if host is None or not 0 < port < 65_536:
            refuse(f"{written!r} is no host and port")
        found.append((host["host"].strip("[]"), port))
    if host_needed and not found:
        refuse("it names no host")
    return BackendUrl(
        scheme=shape["scheme"].lower(),
        secure=(shape["tls"] or "").lower() in ("https", "tls", "ssl"),
        hosts=tuple(found),
        path=unquote(parts.path.removeprefix("/")),
        query=MappingProxyType(dict(query)),
        user=unquote(user),
        password=unquote(password),
        shown=redacted(url),
    )
