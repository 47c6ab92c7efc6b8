"""What a channel's target names (gRPC name resolution: https://github.com/grpc/grpc/blob/master/doc/naming.md)."""

from __future__ import annotations

from typing import Final, NamedTuple

_LOCAL: Final = ("unix:", "unix-abstract:", "vsock:")
_SCHEMES: Final = ("dns:", "ipv4:", "ipv6:", "passthrough:", "xds:", "xds-experimental:")


class Target(NamedTuple):
    """A target taken apart.

    Attributes:
        host: Lower case, without brackets; ``localhost`` for sockets of this machine.
        port: None where the target names none.
        authority: What the server is told as ``:authority``.
    """

    host: str
    port: int | None
    authority: str


def parse_target(target: str) -> Target:
    """Take a target apart. Of several addresses the first counts."""
    if target.startswith(_LOCAL):
        return Target("localhost", None, "localhost")
    if "://" in target:
        endpoint = target.partition("://")[2].partition("/")[2]
    else:
        endpoint = target.partition(":")[2] if target.startswith(_SCHEMES) else target
    endpoint = endpoint.partition(",")[0]
    host, port = _split(endpoint)
    return Target(host.lower(), int(port) if port.isascii() and port.isdigit() else None, endpoint)


def _split(endpoint: str) -> tuple[str, str]:
    if endpoint.startswith("["):
        host, _, rest = endpoint[1:].partition("]")
        return host, rest.removeprefix(":")
    if endpoint.count(":") == 1:
        host, _, port = endpoint.partition(":")
        return host, port
    return endpoint, ""
