"""Where this process can be reached: as it was told, or as its own listening sockets say."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Final, NamedTuple

from graymw.settings.routing_values import ADDRESS

_LISTEN: Final = "0A"  # TCP_LISTEN of include/net/tcp_states.h, as proc(5) writes it
_ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_INODE: Final = re.compile(r"socket:\[(\d+)\]")


class Address(NamedTuple):
    """Where to connect."""

    host: str
    port: int
    tls: bool = False


def told_address(written: str) -> tuple[str, int | None, bool]:
    """Host, port and TLS of ``GRAYMW_ADDRESS``; an empty host and no port where it leaves them out."""
    match = ADDRESS.fullmatch(written)
    if match is None:
        return "", None, False
    return (
        match["host"].strip("[]"),
        int(match["port"]) if match["port"] else None,
        match["scheme"] in ("https", "grpcs"),
    )


def listening() -> tuple[tuple[str, int], ...]:
    """Host and port of each TCP socket that this process listens at; empty where the system cannot tell (no ``/proc``).

    A socket that a parent process opened and this one serves counts as well.
    """
    own = _own_inodes()
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and fields[9] in own:
                    found.add(_place(fields[1], family))
    return tuple(sorted(found))


def _own_inodes() -> frozenset[str]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                match = _INODE.fullmatch(os.readlink(entry.path))  # noqa: PTH115
                if match is not None:
                    found.add(match[1])
    return frozenset(found)


def _place(written: str, family: socket.AddressFamily) -> tuple[str, int]:
    """Address and port of proc(5): 32-bit words in the machine's byte order, hexadecimal."""
    words, _, port = written.partition(":")
    packed = b"".join(int(words[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(words), 8))
    address = ipaddress.ip_address(socket.inet_ntop(family, packed))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address), int(port, 16)


def host_towards(peer: str) -> str:
    """Own address on the way to a host, by which it could come back; empty where there is no way."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(peer, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def own_address(written: str, registry_host: str) -> Address | str:
    """Where this process can be reached, or a sentence that says why that is not known yet.

    Args:
        written: ``GRAYMW_ADDRESS``; empty where it is not set.
        registry_host: Where the registry is; empty where unknown.
    """
    host, port, tls = told_address(written)
    sockets = listening()
    if port is None:
        ports = sorted({port for _, port in sockets})
        if len(ports) != 1:
            seen = f"listens at the ports {', '.join(map(str, ports))}" if ports else "listens nowhere yet"
            return f"this process {seen}; set GRAYMW_ADDRESS to :PORT or HOST:PORT of what is to be registered"
        (port,) = ports
    bound = {bound for bound, own in sockets if own == port} - _ANYWHERE
    host = host or (min(bound) if bound else "") or host_towards(registry_host or "192.0.2.1") or "127.0.0.1"
    return Address(host, port, tls)
