"""A stand-in for Apollo's config service. **It is not Apollo**: no server of it can be had.

Its makers publish no server package (only the client, its core, its openapi and a mock that does not hold polls), and
building one needs a database and their whole build. So this speaks what they publish: "Other language client user
guide" on apolloconfig.com, and ``NotificationControllerV2``, ``ConfigController`` and ``ClientAuthenticationFilter`` of
apolloconfig/apollo:

- ``GET /notifications/v2?appId&cluster&notifications``: at once the number of the last release, where it is above
  the client's; else held until a release, or for ``hold_seconds`` (60 there), which ends in 304. A namespace never
  released just holds. What is no list of namespaces: 400.
- ``GET /configs/APP/CLUSTER/NAMESPACE?releaseKey&messages``: keys and values of the last release; 304 where the client
  has it; 404 where there is none.
- Names of namespaces without regard to case, ``.properties`` left out.
- With access keys: ``Authorization`` and ``Timestamp`` of each request, over path and query as they were sent, a minute
  of difference allowed; else 401.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from graymw.demo.processes import free_ports

SKEW_SECONDS = 60


@dataclass
class Asked:
    """One request."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class _Namespace:
    number: int = -1
    configurations: dict[str, str] | None = None


@dataclass
class ApolloStandIn:
    """The stand-in, with a portal's hand on it. What is released outlives ``stop`` and ``start``.

    Attributes:
        secret: Access key of every application; empty without.
        hold_seconds: How long a poll without news is held.
        lag: Whether it serves the release before the last, unless it is shown ``messages``: as a cache that lags.
        incremental: Whether it tells differences, as with incremental synchronisation switched on.
        asked: Requests so far.
    """

    secret: str = ""
    hold_seconds: float = 60.0
    lag: bool = False
    incremental: bool = False
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.port,) = free_ports(1)
        self._namespaces: dict[tuple[str, str, str], _Namespace] = {}
        self._stale: dict[tuple[str, str, str], _Namespace] = {}
        self._numbers = 0
        self._news = threading.Condition()
        self._server: _Server | None = None

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def release(self, app: str, cluster: str, namespace: str, configurations: dict[str, str] | None) -> None:
        """Publish a namespace; None deletes it."""
        key = _key(app, cluster, namespace)
        with self._news:
            self._numbers += 1
            if key in self._namespaces:
                self._stale[key] = self._namespaces[key]
            self._namespaces[key] = _Namespace(self._numbers, configurations)
            self._news.notify_all()

    def start(self) -> None:
        self._server = _Server(self)

    def stop(self) -> None:
        """End it as a crash does: held polls break off."""
        server, self._server = self._server, None
        if server is not None:
            with self._news:
                server.ended = True
                self._news.notify_all()
            server.end()

    def answer(self, server: _Server, target: str, headers: dict[str, str]) -> tuple[int, Any] | None:
        """Status and body of a request; None where the connection just breaks."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(Asked(parts.path, query, headers))
        refused = self._refused(target, headers)
        if refused:
            return 401, {"status": 401, "message": refused}
        if parts.path == "/notifications/v2":
            return self._notifications(server, query)
        match [unquote(part) for part in parts.path.split("/")]:
            case ["", "configs", app, cluster, namespace]:
                return self._configs(app, cluster, namespace, query)
        return 404, {"status": 404}

    def _refused(self, target: str, headers: dict[str, str]) -> str:
        if not self.secret:
            return ""
        timestamp = headers.get("timestamp", "")
        if not timestamp.isdigit() or abs(time.time() - int(timestamp) / 1000) > SKEW_SECONDS:
            return "RequestTimeTooSkewed"
        digest = hmac.new(self.secret.encode(), f"{timestamp}\n{target}".encode(), hashlib.sha1).digest()
        given = headers.get("authorization", "").partition(":")[2]
        return "" if given == base64.b64encode(digest).decode() else "Unauthorized"

    def _notifications(self, server: _Server, query: dict[str, str]) -> tuple[int, Any] | None:
        try:
            (asked,) = json.loads(query["notifications"])
            name, seen = asked["namespaceName"].removesuffix(".properties"), int(asked["notificationId"])
        except (ValueError, KeyError, TypeError):
            return 400, {"status": 400, "message": "Invalid format of notifications"}
        key = _key(query["appId"], query["cluster"], name)
        until = time.monotonic() + self.hold_seconds
        with self._news:
            while self._namespaces.get(key, _Namespace()).number <= seen:
                left = until - time.monotonic()
                if server.ended:
                    return None
                if left <= 0:
                    return 304, None
                self._news.wait(left)
            number = self._namespaces[key].number
        watched = "+".join((query["appId"], query["cluster"], name))
        return 200, [{"namespaceName": name, "notificationId": number, "messages": {"details": {watched: number}}}]

    def _configs(self, app: str, cluster: str, namespace: str, query: dict[str, str]) -> tuple[int, Any]:
        key = _key(app, cluster, namespace)
        with self._news:
            found = self._namespaces.get(key, _Namespace())
            if self.lag and "messages" not in query:
                found = self._stale.get(key, found)
        if found.configurations is None:
            return 404, {"status": 404, "message": "Could not load configurations"}
        release = f"20261122-{found.number:08x}"
        if query.get("releaseKey") == release:
            return 304, None
        body: dict[str, Any] = {"appId": app, "cluster": cluster, "namespaceName": namespace, "releaseKey": release}
        if self.incremental:
            changes = [
                {"key": name, "newValue": value, "configurationChangeType": "ADDED"}
                for name, value in found.configurations.items()
            ]
            return 200, {**body, "configurationChanges": changes, "configSyncType": "IncrementalSync"}
        return 200, {**body, "configurations": found.configurations}


class _Server:
    """One life of the stand-in."""

    def __init__(self, outer: ApolloStandIn) -> None:
        self.ended = False
        self._connections: set[socket.socket] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                server._connections.add(self.connection)

            def finish(self) -> None:
                server._connections.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                answered = outer.answer(server, self.path, headers)
                if answered is None:
                    self.close_connection = True
                    return
                status, body = answered
                content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json;charset=UTF-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args: object) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

        self._listener = Listener(("127.0.0.1", outer.port), Handler)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,))
        self._thread.start()

    def end(self) -> None:
        self._listener.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.server_close()


def _key(app: str, cluster: str, namespace: str) -> tuple[str, str, str]:
    return app, cluster, namespace.removesuffix(".properties").lower()
