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

    def __init__(self, line: str, folder: Path, *, token: bool, tls: bool, in_memory: bool) -> None:
        self._certificates = certificates(folder) if tls else None
        self._token = token
        self._in_memory = in_memory
        self._consul = Consul(
            folder, line=line, access_control=token, certificates=self._certificates, in_memory=in_memory
        )
        self._put: dict[tuple[str, str, int], Mapping[str, str]] = {}
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
        self._put[service, host, port] = metadata

    def remove(self, service: str, host: str, port: int) -> None:
        self._consul.deregister(f"{service}-{host}-{port}")
        self._put.pop((service, host, port), None)

    def stop(self) -> None:
        self._consul.stop()

    def start(self) -> None:
        """What it wrote down is there at once, but healthy only when its node is."""
        self._consul.start()
        for (service, host, port), metadata in self._put.items():
            if self._in_memory:
                self.put(service, host, port, metadata)
            until(lambda: port in {entry["Service"]["Port"] for entry in self._consul.passing(service)})  # noqa: B023


def _opening(line: str, *, token: bool = False, tls: bool = False, in_memory: bool = False) -> Opened:
    @contextmanager
    def opened(folder: Path) -> Iterator[ConsulBackend]:
        backend = ConsulBackend(line, folder, token=token, tls=tls, in_memory=in_memory)
        try:
            yield backend
        finally:
            backend.stop()

    def open_(folder: Path) -> AbstractContextManager[ConsulBackend]:
        return opened(folder)

    return open_


VARIANTS: Final[dict[str, Opened]] = {
    "1.8": _opening("1.8"),
    "1.12-token-tls": _opening("1.12", token=True, tls=True, in_memory=True),  # and so forgets, and its index falls
}
