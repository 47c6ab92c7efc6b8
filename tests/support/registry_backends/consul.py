from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from certificates import certificates
from real_consul import Consul, until

from registry_backends import Opened


class ConsulBackend:
    """A Consul, and somebody who registers instances without a check."""

    lacks: Mapping[str, str] = {}
    seconds = 5.0
    expiry_seconds = 25.0

    def __init__(self, line: str, folder: Path, *, token: bool, tls: bool) -> None:
        self._certificates = certificates(folder) if tls else None
        self._token = token
        self._consul = Consul(folder, line=line, access_control=token, certificates=self._certificates)
        self._put: set[tuple[str, int]] = set()
        self._consul.start()

    def settings(self) -> dict[str, object]:
        scheme = "consul+https" if self._certificates else "consul"
        told: dict[str, object] = {"registry": f"{scheme}://{self._consul.authority}"}
        if self._certificates:
            told |= {f"registry_{name}": str(getattr(self._certificates, name)) for name in ("ca", "cert", "key")}
        if self._token:
            told |= {"registry_token": self._consul.token}
        return told

    def wrong_login(self) -> dict[str, object] | None:
        return {**self.settings(), "registry_token": "no-such-t0ken"} if self._token else None

    def put(self, service: str, host: str, port: int, metadata: Mapping[str, str]) -> None:
        self._consul.register(service, port, host=host, ID=f"{service}-{host}-{port}", Meta=dict(metadata))
        self._put.add((service, port))

    def remove(self, service: str, host: str, port: int) -> None:
        self._consul.deregister(f"{service}-{host}-{port}")
        self._put.discard((service, port))

    def stop(self) -> None:
        self._consul.stop()

    def start(self) -> None:
        self._consul.start()
        for service in {service for service, _ in self._put}:
            ports = {port for name, port in self._put if name == service}
            until(lambda: ports <= {entry["Service"]["Port"] for entry in self._consul.passing(service)})  # noqa: B023


def _opening(line: str, *, token: bool = False, tls: bool = False) -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[ConsulBackend]:
        backend = ConsulBackend(line, folder, token=token, tls=tls)
        try:
            yield backend
        finally:
            backend.stop()

    def open_(folder: Path) -> AbstractContextManager[ConsulBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {
    "1.8": _opening("1.8"),
    "1.12-token-tls": _opening("1.12", token=True, tls=True),
}
