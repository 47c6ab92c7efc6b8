"""What a ``dns://`` URL asks for: which names, which records, and what they do not tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from graymw.core.names import is_version
from graymw.errors import Problem, SettingsError
from graymw.remote.dns import PORT
from graymw.remote.url import parse_backend_url

EXAMPLE: Final = "dns://127.0.0.1:53/mesh.internal"

_SETTING: Final = "GRAYMW_REGISTRY"
_PARAMETERS: Final = ("record", "name", "versions", "port", "scheme", "transport")
_DEFAULT_NAMES: Final = {"srv": "_{service}._tcp", "a": "{service}"}
_SCHEME_PORTS: Final[Mapping[str, int | None]] = {"http": 80, "https": 443, "grpc": None, "grpcs": 443}
_LITERAL: Final = re.compile(r"[A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for a service.

    Attributes:
        shown: The URL for people.
        servers: Host and port of each name server; none: the system's.
        name: Name with placeholders.
        versions: Versions to ask for, one question each; none where the name has no place for one.
        port: Port of every instance; None where SRV records tell it.
        tls: Whether the instances are spoken to over TLS.
        tcp: Whether the name servers are asked over TCP at once.
    """

    shown: str
    servers: tuple[tuple[str, int], ...]
    name: str
    domain: str
    versions: tuple[str, ...]
    port: int | None
    tls: bool
    tcp: bool

    def names(self, service: str) -> Iterable[tuple[str, str]]:
        """Version and name to ask for."""
        for version in self.versions or ("",):
            name = self.name.replace("{version}", version).replace("{service}", service)
            yield version, f"{name}.{self.domain}" if self.domain else name


def question_of(written: str) -> Question:
    """What to ask for.

    Args:
        written: ``dns://[SERVER[:PORT]]/DOMAIN``, with parameters.

    Raises:
        SettingsError: The URL says what cannot be, or too little.
    """
    url = parse_backend_url(
        written, setting=_SETTING, default_port=PORT, parameters=_PARAMETERS, example=EXAMPLE, host_needed=False
    )
    query = url.query
    if url.secure or url.user or url.password:
        _refuse("DNS has neither TLS nor a log-in here", f"write it like {EXAMPLE}")
    record = query.get("record", "srv").lower()
    if record not in _DEFAULT_NAMES:
        _refuse(f"there is no record {record}", "write record=srv or record=a")
    transport = query.get("transport", "udp").lower()
    if transport not in ("udp", "tcp"):
        _refuse(f"there is no transport {transport}", "write transport=udp or transport=tcp")
    scheme = query.get("scheme", "").lower()
    if scheme and scheme not in _SCHEME_PORTS:
        _refuse(f"there is no scheme {scheme}", f"write one of: {', '.join(_SCHEME_PORTS)}")
    versions = tuple(part.strip() for part in query.get("versions", "").split(",") if part.strip())
    for version in versions:
        if not is_version(version):
            _refuse(f"{version!r} is no version", "write versions=v1,v2")
    return Question(
        shown=url.shown,
        servers=url.hosts,
        name=_template(query.get("name", _DEFAULT_NAMES[record]), versions),
        domain=_literal(url.path.strip("./"), "domain"),
        versions=versions,
        port=_port(query.get("port", ""), record, scheme),
        tls=scheme in ("https", "grpcs"),
        tcp=transport == "tcp",
    )


def _template(name: str, versions: Sequence[str]) -> str:
    _literal(name.replace("{service}", "").replace("{version}", ""), "name")
    if "{service}" not in name:
        _refuse("the name has no place for the service", "write a name such as name={service}-{version}")
    if versions and "{version}" not in name:
        _refuse(
            "versions are named, but the name that is asked for has no place for one",
            "add a name such as name={version}.{service} or name={service}-{version}",
        )
    if "{version}" in name and not versions:
        _refuse("the name has a place for a version, but none is named", "add versions=v1,v2")
    return name


def _literal(text: str, what: str) -> str:
    if not _LITERAL.fullmatch(text):
        _refuse(f"the {what} has characters that DNS names do not have", "leave {service} and {version} as they are")
    return text


def _port(written: str, record: str, scheme: str) -> int | None:
    if record == "srv":
        if written:
            _refuse("SRV records tell the port", "leave port out, or write record=a")
        return None
    if written:
        if not written.isascii() or not written.isdigit() or not 0 < int(written) < 65_536:
            _refuse(f"{written!r} is no port", "write a port such as port=8000")
        return int(written)
    port = _SCHEME_PORTS.get(scheme)
    if port is None:
        _refuse("addresses do not tell the port", "add port=8000, the port that all instances listen on")
    return port


def _refuse(message: str, mend: str) -> NoReturn:
    raise SettingsError([Problem(_SETTING, message, mend)])
