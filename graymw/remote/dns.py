"""Questions to name servers (RFC 1035, RFC 2782). The only module that imports dnspython, at first use (200 ms)."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from graymw.errors import MissingExtraError, SourceError

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.resolver import Answer

PORT: Final = 53
SECONDS: Final = 5.0
"""How long one question may take, with every repetition and every server asked."""

ATTEMPT_SECONDS: Final = 1.0
"""How long a server has for it before the question is sent again, or to the next one."""

UDP_BYTES: Final = 1232
"""Largest answer over UDP that crosses networks in one piece (DNS flag day 2020); larger ones come over TCP."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One SRV record: where a service listens, by host name."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class ServiceRecords:
    """SRV records of a name, none where there is no such name.

    Attributes:
        records: As the server gave them.
        glue: Addresses that came along, by target.
        ttl: Seconds for which all of it holds.
    """

    records: tuple[ServiceRecord, ...]
    glue: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ttl: float = 0.0

    @property
    def absent(self) -> bool:
        """Whether the server knows none."""
        return not self.records


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of a name, none where there is no such name.

    Attributes:
        addresses: IPv4 where there are any, else IPv6: a host that has both is still one instance.
        ttl: Seconds for which they hold.
    """

    addresses: tuple[str, ...]
    ttl: float = 0.0

    @property
    def absent(self) -> bool:
        """Whether the server knows none."""
        return not self.addresses


def require_dnspython() -> None:
    """Say at once, and without importing it, where the library is missing.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec("dns") is None:
        raise MissingExtraError("dnspython", "dns")


class DnsClient:
    """A stub resolver. Names are absolute: search domains of the machine are not tried.

    Args:
        servers: Host and port of each server to ask; none: those of the machine's resolver configuration.
        tcp: Ask over TCP at once, for servers that shorten their UDP answers without saying so.
    """

    def __init__(self, servers: Sequence[tuple[str, int]] = (), *, tcp: bool = False) -> None:
        self._servers = tuple(servers)
        self._tcp = tcp
        self._resolver: Resolver | None = None

    @property
    def name(self) -> str:
        """The servers for people."""
        if not self._servers:
            return "the system's name server"
        shown = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._servers)
        return f"the name server {', '.join(shown)}"

    async def services(self, name: str) -> ServiceRecords:
        """SRV records of a name.

        Raises:
            SourceError: No server gave a usable answer.
        """
        answer = await self._ask(name, "SRV")
        if isinstance(answer, float):
            return ServiceRecords((), ttl=answer)
        records = tuple(ServiceRecord(it.priority, it.weight, it.port, it.target.to_text()) for it in answer)
        glue, ttl = _glue(answer)
        return ServiceRecords(records, glue, ttl)

    async def addresses(self, name: str) -> Addresses:
        """Addresses of a name.

        Raises:
            SourceError: No server gave a usable answer.
        """
        ttl = 0.0
        for kind in ("A", "AAAA"):
            answer = await self._ask(name, kind)
            if isinstance(answer, float):
                ttl = answer
            else:
                return Addresses(tuple(it.address for it in answer), float(answer.chaining_result.minimum_ttl))
        return Addresses((), ttl)

    async def _ask(self, name: str, kind: str) -> Answer | float:
        """The records asked for; where there are none, the seconds for which that holds (RFC 2308)."""
        resolver = self._resolver
        if resolver is None:
            resolver = self._resolver = await self._made()
        exceptions = importlib.import_module("dns.exception")
        errors = importlib.import_module("dns.resolver")
        absolute = f"{name.rstrip('.')}."
        try:
            answer = await resolver.resolve(absolute, kind, tcp=self._tcp, raise_on_no_answer=False, search=False)
        except errors.NXDOMAIN as error:
            (response,) = error.responses().values()
            return float(response.resolve_chaining().minimum_ttl)
        except errors.LifetimeTimeout:
            raise SourceError(f"{self.name} did not answer for {name} within {SECONDS:g} s") from None
        except errors.NoNameservers as error:
            raise SourceError(f"{self.name} cannot answer for {name}: {_reasons(error)}") from None
        except (exceptions.DNSException, OSError, ValueError) as error:
            raise SourceError(f"{name} cannot be asked for: {error}") from error
        return answer if answer.rrset else float(answer.chaining_result.minimum_ttl)

    async def _made(self) -> Resolver:
        require_dnspython()
        # Some tens of thousands of lines: not on the loop that others wait on.
        asyncresolver = await asyncio.to_thread(importlib.import_module, "dns.asyncresolver")
        nameserver = importlib.import_module("dns.nameserver")
        exceptions = importlib.import_module("dns.exception")
        try:
            resolver: Resolver = asyncresolver.Resolver(configure=not self._servers)
        except exceptions.DNSException as error:
            told = f"the system names no name server ({error})"
            raise SourceError(f"{told}; name one, such as dns://127.0.0.1:53/DOMAIN") from error
        if self._servers:
            resolver.nameservers = [
                nameserver.Do53Nameserver(address, port)
                for host, port in self._servers
                for address in await _numeric(host, port)
            ]
        resolver.use_edns(0, 0, UDP_BYTES)
        resolver.timeout = ATTEMPT_SECONDS
        resolver.lifetime = SECONDS
        return resolver


async def _numeric(host: str, port: int) -> list[str]:
    """Addresses of the name server itself, which may be named by the machine's hosts file."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise SourceError(f"the name server {host} has no address: {error}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _glue(answer: Answer) -> tuple[dict[str, tuple[str, ...]], float]:
    """Addresses of SRV targets in the additional section, and for how long all of the answer holds."""
    by_kind: dict[str, dict[str, tuple[str, ...]]] = {"A": {}, "AAAA": {}}
    ttl = float(answer.chaining_result.minimum_ttl)
    rdatatype = importlib.import_module("dns.rdatatype")
    for rrset in answer.response.additional:
        kind = rdatatype.to_text(rrset.rdtype)
        if kind in by_kind:
            by_kind[kind][rrset.name.to_text()] = tuple(it.address for it in rrset)
            ttl = min(ttl, float(rrset.ttl))
    return by_kind["AAAA"] | by_kind["A"], ttl


def _reasons(error: Any) -> str:
    """What each server said, in its own word for it, such as SERVFAIL or REFUSED."""
    said = dict.fromkeys(str(entry[3]) or type(entry[3]).__name__ for entry in error.kwargs.get("errors", ()))
    return ", ".join(said) or "none could be asked"
