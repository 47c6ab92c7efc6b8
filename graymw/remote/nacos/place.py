"""What a URL says about a place in Nacos: servers, ports, namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graymw.errors import Problem, SettingsError
from graymw.remote.url import BackendUrl, parse_backend_url

PORT: Final = 8848
GRPC_OFFSET: Final = 1000
"""What Nacos adds to its port for the gRPC of clients."""

PUBLIC: Final = "public"
"""The namespace of who names none."""

DEFAULT_GROUP: Final = "DEFAULT_GROUP"


@dataclass(frozen=True, slots=True)
class NacosPlace:
    """Where in Nacos.

    Attributes:
        url: The URL it was taken from.
        namespace: Id of the namespace.
        group: Name of the group.
        grpc_port: Port that pushes; None: that of HTTP and 1000; 0: nothing is pushed, everything is polled.
        setting: ``GRAYMW_REGISTRY`` or ``GRAYMW_RULES``, for what to tell people to mend.
    """

    url: BackendUrl
    namespace: str
    group: str
    grpc_port: int | None
    setting: str

    @property
    def grpc_hosts(self) -> tuple[tuple[str, int], ...]:
        """Host and gRPC port of each server; empty where nothing is to be pushed."""
        if self.grpc_port == 0:
            return ()
        return tuple((host, self.grpc_port or port + GRPC_OFFSET) for host, port in self.url.hosts)


def nacos_place(url: str, *, setting: str, example: str, parameters: tuple[str, ...] = ()) -> NacosPlace:
    """Take a URL apart.

    Args:
        setting: Name of the setting it comes from.
        example: A right URL, for errors.
        parameters: Query parameters besides ``namespace``, ``group`` and ``grpc_port``.

    Raises:
        SettingsError: It is no such URL.
    """
    known = ("namespace", "group", "grpc_port", *parameters)
    parsed = parse_backend_url(url, setting=setting, default_port=PORT, parameters=known, example=example)
    written = parsed.query.get("grpc_port", "")
    if written and not (written.isascii() and written.isdigit() and int(written) < 65_536):
        raise SettingsError([Problem(setting, f"{written!r} is no port", "write grpc_port as a number; 0: only poll")])
    return NacosPlace(
        url=parsed,
        namespace=parsed.query.get("namespace", "").strip() or PUBLIC,
        group=parsed.query.get("group", "").strip() or DEFAULT_GROUP,
        grpc_port=int(written) if written else None,
        setting=setting,
    )
