"""A real Consul server on loopback: one node, its data in a folder, on the same ports after each restart."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest
from certificates import Certificates
from real_servers import LOOPBACK, REQUIRED, real_server
from serving import Service
from waiting import eventually

from graymw.demo.processes import free_ports

ROOT_TOKEN: Final = "2c1d5f5e-0d7c-4d0b-9d3e-000000000001"
"""Token that may do everything where access control is on."""

VERSIONS: Final = {"1.8": ("1.8.7", "fetch.sh"), "1.12": ("1.12.9", "build.sh")}
"""Releases by release line, each with the script of ``tests/servers/consul`` that brings it."""


def program(line: str) -> str:
    """Path of a Consul; the test is skipped without it, or fails where servers are required.

    Args:
        line: Release line, such as ``1.8``.
    """
    version, script = VERSIONS[line]
    variable = f"CONSUL_{line.replace('.', '_')}_BINARY"
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache = Path(os.environ.get("GRAYMW_CACHE") or f"{caches}/graymw")
    found = os.environ.get(variable) or str(cache / f"consul-{version}" / "consul")
    if os.access(found, os.X_OK):
        return found
    reason = f"no Consul {version}: run tests/servers/consul/{script}, or name the program by {variable}"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


class Reply:
    """What the server said to a request."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.index = int(headers.get("X-Consul-Index") or 0)
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Consul:
    """A Consul server that can be stopped and started again.

    Args:
        folder: Where its data and output are kept.
        line: Which release line it is of.
        access_control: Whether each request needs a token.
        certificates: Its HTTP interface speaks TLS only, and asks clients for a certificate, where given.
        in_memory: Whether it forgets everything when it stops, its indexes included.
        limits: Further settings, such as ``{"http_max_conns_per_client": 10}`` below ``limits``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        line: str = "1.8",
        access_control: bool = False,
        certificates: Certificates | None = None,
        in_memory: bool = False,
        limits: Mapping[str, Any] | None = None,
    ) -> None:
        self._program = program(line)
        self._folder = folder
        self._certificates = certificates
        self._token = ROOT_TOKEN if access_control else ""
        self._in_memory = in_memory
        ports = free_ports(5)
        self.port, self.dns_port = ports[0], ports[4]
        names = ("https" if certificates else "http", "server", "serf_lan", "serf_wan", "dns")
        config: dict[str, Any] = {
            "node_name": "node-1",
            "server": True,
            "bind_addr": LOOPBACK,
            "client_addr": LOOPBACK,
            "ports": {"http": -1, "https": -1, "grpc": -1, **dict(zip(names, ports, strict=True))},
            "disable_update_check": True,
            "log_level": "warn",
            "performance": {"raft_multiplier": 1},
            "leave_on_terminate": False,
            "skip_leave_on_interrupt": True,
            "limits": dict(limits or {}),
        }
        if not in_memory:
            config |= {"bootstrap": True, "data_dir": str(folder / "data")}
        if access_control:
            config["acl"] = {
                "enabled": True,
                "default_policy": "deny",
                "token_ttl": "1s",
                "policy_ttl": "1s",
                "tokens": {"master": ROOT_TOKEN, "agent": ROOT_TOKEN},
            }
        if certificates:
            config |= {
                "ca_file": str(certificates.ca),
                "cert_file": str(certificates.cert),
                "key_file": str(certificates.key),
                "verify_incoming_https": True,
            }
        self._config = folder / "config.json"
        self._config.write_text(json.dumps(config))
        self._running: ExitStack | None = None
        self._service: Service | None = None

    @property
    def url(self) -> str:
        """Where it listens, as a browser writes it."""
        return f"{'https' if self._certificates else 'http'}://{LOOPBACK}:{self.port}"

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def token(self) -> str:
        """Token that may do everything; empty where none is needed."""
        return self._token

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._running is not None

    @property
    def output(self) -> str:
        """What it has said since its start."""
        return self._service.output if self._service is not None else ""

    def start(self) -> None:
        """Run it, and wait until it can be written to."""
        mode = ["-dev"] if self._in_memory else []
        command = [self._program, "agent", *mode, "-config-file", str(self._config)]
        with ExitStack() as stack:
            self._service = stack.enter_context(real_server(command, self._folder, self.port, self._is_well))
            self._running = stack.pop_all()

    def stop(self) -> None:
        """End it at once, as a crash does."""
        if self._running is not None and self._service is not None:
            self._service.process.kill()
            self._service.process.wait()
            self._running.close()
            self._running = None

    def restart(self) -> None:
        """Stop it and start it again: same ports, same data."""
        self.stop()
        self.start()

    def call(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        *,
        token: str | None = None,
        timeout: float = 10,
        **query: str,
    ) -> Reply:
        """Ask its HTTP API; any status is a reply.

        Args:
            body: A mapping is sent as JSON.
            token: Default: the one that may do everything.
        """
        url = f"{self.url}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        request = Request(url, data=sent, method=method)
        held = self._token if token is None else token
        if held:
            request.add_header("X-Consul-Token", held)
        try:
            with build_opener(*self._handlers()).open(request, timeout=timeout) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def put(self, key: str, value: str | bytes) -> None:
        """Write a key."""
        reply = self.call("PUT", f"/v1/kv/{key}", value.encode() if isinstance(value, str) else value)
        assert reply.body.strip() == b"true", (reply.status, reply.body)

    def remove(self, key: str) -> None:
        """Delete a key."""
        assert self.call("DELETE", f"/v1/kv/{key}").status == 200

    def register(self, service: str, port: int, *, host: str = LOOPBACK, **more: Any) -> None:
        """Register an instance as some other program would: ``SERVICE-PORT``, without a check.

        Args:
            more: Further fields, such as ``ID``, ``Meta``, ``Tags``, ``Check``.
        """
        body = {"ID": f"{service}-{port}", "Name": service, "Port": port, "Address": host, **more}
        reply = self.call("PUT", "/v1/agent/service/register", body)
        assert reply.status == 200, reply.body

    def deregister(self, identity: str) -> None:
        """Take an instance out."""
        assert self.call("PUT", f"/v1/agent/service/deregister/{identity}").status == 200

    def services(self) -> dict[str, Any]:
        """Instances that the agent holds, by their id."""
        return dict(self.call("GET", "/v1/agent/services").json)

    def passing(self, service: str) -> list[dict[str, Any]]:
        """Entries of a service's healthy instances."""
        return list(self.call("GET", f"/v1/health/service/{service}", passing="1").json)

    def new_token(self, rules: str) -> str:
        """A token that may do only what some rules say."""
        name = f"policy-{len(self.call('GET', '/v1/acl/policies').json)}"
        policy = self.call("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        assert policy.status == 200, policy.body
        token = self.call("PUT", "/v1/acl/token", {"Policies": [{"Name": name}]})
        assert token.status == 200, token.body
        return str(token.json["SecretID"])

    def _is_well(self) -> bool:
        """A leader is there, and writing works: it takes both a moment after a start."""
        return self.call("GET", "/v1/agent/self").status == 200 and self._can_write()

    def _can_write(self) -> bool:
        return self.call("PUT", "/v1/kv/graymw-test/well", b"1").status == 200

    def _handlers(self) -> list[Any]:
        handlers: list[Any] = [ProxyHandler({})]
        if self._certificates:
            context = ssl.create_default_context(cafile=str(self._certificates.ca))
            context.load_cert_chain(self._certificates.cert, self._certificates.key)
            handlers.append(HTTPSHandler(context=context))
        return handlers


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Consul]:
    """Run a Consul, and end it afterwards; see ``Consul`` for the options."""
    consul = Consul(folder, **options)
    consul.start()
    try:
        yield consul
    finally:
        consul.stop()


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Wait for what Consul takes its time for."""
    eventually(condition, seconds)
