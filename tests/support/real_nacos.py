"""A real Nacos on loopback, alone, its data in a folder, on the same ports after each restart.

Its gRPC and Raft listen on every address of the machine, and cannot be told otherwise.
"""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest
from certificates import Certificates
from real_servers import LOOPBACK, REQUIRED, real_server
from waiting import eventually

USER: Final = "nacos"
PASSWORD: Final = "nacos"
VERSIONS: Final = {"2.2": "2.2.4", "3.1": "3.1.0"}

_CACHE: Final = Path(
    os.environ.get("GRAYMW_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graymw"
)
_OFFSETS: Final = (0, 1000, 1001, -1000)
"""HTTP, gRPC of clients, gRPC between servers, Raft."""

_SECRET: Final = "Z3JheW13LXRlc3RzLW9ubHktMDEyMzQ1Njc4OTAxMjM0NTY="
_SETTLED: Final = """
server.address={host}
server.error.include-message=ALWAYS
server.tomcat.max-http-form-post-size=-1
nacos.inetutils.ip-address={host}
nacos.core.auth.system.type=nacos
nacos.core.auth.caching.enabled=false
nacos.core.auth.server.identity.key=graymw
nacos.core.auth.server.identity.value=tests
nacos.core.auth.plugin.nacos.token.secret.key={secret}
nacos.core.auth.enabled={login}
nacos.core.auth.admin.enabled={login}
nacos.core.auth.console.enabled=false
"""
_LINES: Final = {
    "2.2": "server.port={port}\nserver.servlet.context-path=/nacos\nnacos.security.ignore.urls=/**\n",
    "3.1": "nacos.server.main.port={port}\n",
}
_TLS: Final = """
server.ssl.certificate=file:{cert}
server.ssl.certificate-private-key=file:{key}
nacos.remote.server.rpc.tls.enableTls=true
nacos.remote.server.rpc.tls.compatibility=false
nacos.remote.server.rpc.tls.certChainFile=file:{cert}
nacos.remote.server.rpc.tls.certPrivateKey=file:{key}
"""


def program(line: str) -> str:
    """What starts a Nacos of a release line; the test is skipped without it, or fails where servers are required."""
    found = _CACHE / f"nacos-{VERSIONS[line]}" / "nacos"
    if os.access(found, os.X_OK):
        return str(found)
    reason = f"no Nacos {line}: run tests/servers/nacos/build.sh"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


class NacosRefusedError(AssertionError):
    """The server refused what the test asked of it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Nacos:
    """A Nacos that can be stopped and started again.

    Args:
        line: ``2.2`` or ``3.1``.
        folder: Where its data and its output are kept.
        login: Whether it asks who one is; ``USER`` with ``PASSWORD`` may do everything.
        certificates: Speak TLS with these; only of 3.1.
    """

    def __init__(
        self, line: str, folder: Path, *, login: bool = False, certificates: Certificates | None = None
    ) -> None:
        self.line = line
        self._program = program(line)
        self._folder = folder
        self._login = login
        self._certificates = certificates
        self._token = ""
        self._running: ExitStack | None = None
        self.port = _free_port()
        told = _SETTLED + _LINES[line] + (_TLS if certificates else "")
        paths = {"cert": certificates.cert, "key": certificates.key} if certificates else {}
        (folder / "conf").mkdir(parents=True)
        properties = told.format(host=LOOPBACK, secret=_SECRET, login=str(login).lower(), port=self.port, **paths)
        (folder / "conf" / "application.properties").write_text(properties)
        handlers: list[Any] = [ProxyHandler({})]
        if certificates:
            handlers.append(HTTPSHandler(context=ssl.create_default_context(cafile=str(certificates.ca))))
        self._opener = build_opener(*handlers)

    @property
    def url(self) -> str:
        """Where it listens, as a browser writes it."""
        return f"{'https' if self._certificates else 'http'}://{LOOPBACK}:{self.port}"

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def grpc_port(self) -> int:
        """Where it pushes."""
        return self.port + 1000

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._running is not None

    def start(self) -> Self:
        """Run it until it is well; with the data it had when it was stopped."""
        assert self._running is None, "it runs already"
        with ExitStack() as stack:
            command = [self._program, str(self._folder)]
            service = stack.enter_context(real_server(command, self._folder, self.port, self._is_well, seconds=120))
            stack.callback(lambda: (service.process.kill(), service.process.wait()))
            self._running = stack.pop_all()
        return self

    def stop(self) -> None:
        """End it at once, as a crash does; no error where it does not run."""
        if self._running is not None:
            self._running.close()
            self._running = None
            self._token = ""

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def call(
        self, method: str, path: str, fields: Mapping[str, str] | None = None, *, token: str | None = None
    ) -> Reply:
        """Ask its HTTP API; any status is a reply.

        Args:
            path: Beneath ``/nacos``.
            token: Default: that of the user who may do everything.
        """
        query = urlencode(fields or {})
        url = f"{self.url}/nacos{path}"
        body = query.encode() if method in ("POST", "PUT") else None
        request = Request(url if body is not None or not query else f"{url}?{query}", data=body, method=method)
        held = self._token if token is None else token
        if held:
            request.add_header("Authorization", f"Bearer {held}")
        try:
            with self._opener.open(request, timeout=10) as answer:
                return Reply(answer.status, answer.read().decode())
        except HTTPError as error:
            with error:
                return Reply(error.code, error.read().decode())

    def put_instance(
        self, service: str, host: str, port: int, metadata: Mapping[str, str], *, group: str, **more: str
    ) -> None:
        """Register an instance over HTTP as some other program would; it lives an hour without heartbeats.

        Args:
            more: Further fields, such as ``weight``, ``enabled``, ``clusterName``, ``namespaceId``.
        """
        lasting = {"preserved.heart.beat.timeout": "3600000", "preserved.ip.delete.timeout": "3600000"}
        fields = {
            **self._named(service, group),
            "ip": host,
            "port": str(port),
            "ephemeral": "true",
            "metadata": json.dumps({**lasting, **metadata}),
            **more,
        }
        self._done(self.call("POST", self._path("/v3/client/ns/instance", "/v1/ns/instance"), fields))

    def remove_instance(self, service: str, host: str, port: int, *, group: str, **more: str) -> None:
        """Take out an instance that was registered over HTTP, by whomever."""
        fields = {**self._named(service, group), "ip": host, "port": str(port), "ephemeral": "true", **more}
        self._done(self.call("DELETE", self._path("/v3/client/ns/instance", "/v1/ns/instance"), fields))

    def instances(self, service: str, *, group: str) -> list[dict[str, Any]]:
        """Instances of a service, whatever their health."""
        path = self._path("/v3/client/ns/instance/list", "/v1/ns/instance/list")
        everywhere = {} if self.line == "2.2" else {"clusterName": ","}
        told = self.call("GET", path, {**self._named(service, group), **everywhere}).json
        return list(told["data"] if "data" in told else told["hosts"])

    def publish(self, data_id: str, text: str, *, group: str, namespace: str = "") -> None:
        """Publish a configuration, and wait until it can be read."""
        path = self._path("/v3/admin/cs/config", "/v1/cs/configs")
        self._done(self.call("POST", path, {**self._config(data_id, group, namespace), "content": text}))
        eventually(lambda: self.config(data_id, group=group, namespace=namespace) == text)

    def publish_at_once(self, data_id: str, text: str, *, group: str) -> None:
        """Publish a configuration, and wait for nothing."""
        path = self._path("/v3/admin/cs/config", "/v1/cs/configs")
        self._done(self.call("POST", path, {**self._config(data_id, group, ""), "content": text}))

    def unpublish(self, data_id: str, *, group: str, namespace: str = "") -> None:
        """Delete a configuration, and wait until it can no longer be read."""
        path = self._path("/v3/admin/cs/config", "/v1/cs/configs")
        self._done(self.call("DELETE", path, self._config(data_id, group, namespace)))
        eventually(lambda: self.config(data_id, group=group, namespace=namespace) is None)

    def config(self, data_id: str, *, group: str, namespace: str = "") -> str | None:
        """A configuration as clients read it; None where there is none."""
        path = self._path("/v3/client/cs/config", "/v1/cs/configs")
        reply = self.call("GET", path, self._config(data_id, group, namespace))
        if self.line == "2.2":
            return reply.text if reply.status == 200 else None
        data = reply.json.get("data")
        return str(data["content"]) if data else None

    def add_user(self, user: str, password: str) -> None:
        """A user who may do nothing."""
        path = self._path("/v3/auth/user", "/v1/auth/users")
        self._done(self.call("POST", path, {"username": user, "password": password}))

    def _path(self, of_3: str, of_2: str) -> str:
        return of_2 if self.line == "2.2" else of_3

    def _named(self, service: str, group: str) -> dict[str, str]:
        if self.line == "2.2":
            return {"serviceName": f"{group}@@{service}"}
        return {"serviceName": service, "groupName": group}

    def _config(self, data_id: str, group: str, namespace: str) -> dict[str, str]:
        names = ("group", "tenant") if self.line == "2.2" else ("groupName", "namespaceId")
        return {"dataId": data_id, names[0]: group, **({names[1]: namespace} if namespace else {})}

    def _done(self, reply: Reply) -> None:
        fine = reply.status == 200 and (self.line == "2.2" or reply.json["code"] == 0)
        if not fine:
            raise NacosRefusedError(f"{reply.status}: {reply.text}")

    def _is_well(self) -> bool:
        with socket.create_connection((LOOPBACK, self.grpc_port), timeout=1):
            pass
        if self._login:
            return self._logged_in()
        return (
            self.call(
                "GET", self._path("/v3/client/ns/instance/list", "/v1/ns/instance/list"), {"serviceName": "x"}
            ).status
            == 200
        )

    def _logged_in(self) -> bool:
        if self.line == "3.1":
            self.call("POST", "/v3/auth/user/admin", {"password": PASSWORD}, token="")  # once; refused afterwards
        path = self._path("/v3/auth/user/login", "/v1/auth/login")
        reply = self.call("POST", path, {"username": USER, "password": PASSWORD}, token="")
        self._token = str(reply.json["accessToken"]) if reply.status == 200 else ""
        return bool(self._token)


def _free_port() -> int:
    """A port whose relatives are free too, outside the range that outgoing connections are given."""
    for _ in range(1000):
        port = random.randrange(11_000, 30_000)
        if all(_is_free(port + offset) for offset in _OFFSETS):
            return port
    raise OSError("no free ports for Nacos")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
