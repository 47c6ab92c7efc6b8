"""A real Redis on loopback: open, with a user, or with TLS; on the same port after each restart."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from certificates import Certificates
from real_servers import LOOPBACK, binary, real_server
from serving import Service

from graymw.demo.processes import free_ports

USER: Final = "gray"
WRITER: Final = "writer"
PASSWORD: Final = "s3cret/päss"


class RedisServer:
    """A Redis that can be stopped and started again.

    Args:
        folder: Where its data, settings and output are kept.
        users: Whether only ``USER`` may read and only ``WRITER`` may write, and only keys below ``graymw:``.
        certificates: It speaks TLS only, and asks clients for a certificate, where given.
    """

    def __init__(self, folder: Path, *, users: bool = False, certificates: Certificates | None = None) -> None:
        self._program = binary("/usr/bin/redis-server", variable="REDIS_BINARY", package="redis-server")
        (self.port,) = free_ports(1)
        self._folder = folder
        self._certificates = certificates
        port = 0 if certificates else self.port
        lines = [f"port {port}", f"bind {LOOPBACK}", 'save ""', "appendonly yes", f"dir {folder}"]
        if users:
            may = "~graymw:* &graymw:* -@all +get +subscribe +unsubscribe +ping"
            and_write = "+watch +unwatch +multi +exec +set +lpush +ltrim +lrange +publish"
            lines += [f"user {USER} on >{PASSWORD} {may}", f"user {WRITER} on >{PASSWORD} {may} {and_write}"]
            lines += ["user default off", "user root on >writes ~* &* +@all"]
        if certificates:
            lines += [
                f"tls-port {self.port}",
                f"tls-cert-file {certificates.cert}",
                f"tls-key-file {certificates.key}",
                f"tls-ca-cert-file {certificates.ca}",
            ]
        self._login = ("root", "writes") if users else None
        self._config = folder / "redis.conf"
        self._config.write_text("\n".join([*lines, ""]))
        self._running = ExitStack()
        self._service: Service | None = None

    @property
    def authority(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        command = [self._program, str(self._config)]
        self._service = self._running.enter_context(real_server(command, self._folder, self.port, self._is_well))

    def stop(self) -> None:
        self._running.close()
        self._service = None

    @property
    def process_id(self) -> int:
        assert self._service is not None
        return self._service.process.pid

    def call(self, *words: str) -> Any:
        """Send one command as root, and return what the server says: an error as a text that begins with "-"."""
        with self._connected() as stream:
            if self._login is not None:
                assert _asked(stream, "AUTH", *self._login) == "OK"
            return _asked(stream, *words)

    def write(self, key: str, text: str) -> None:
        """Set a key and tell whoever listens, both or neither."""
        with self._connected() as stream:
            if self._login is not None:
                _asked(stream, "AUTH", *self._login)
            _asked(stream, "MULTI")
            _asked(stream, "SET", key, text)
            _asked(stream, "PUBLISH", key, "changed")
            assert isinstance(_asked(stream, "EXEC"), list)

    def _is_well(self) -> bool:
        said = self.call("PING")
        return said == "PONG"

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        with ExitStack() as stack:
            connection: socket.socket = stack.enter_context(socket.create_connection((LOOPBACK, self.port), 5))
            if self._certificates is not None:
                context = ssl.create_default_context(cafile=str(self._certificates.ca))
                context.load_cert_chain(self._certificates.cert, self._certificates.key)
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=LOOPBACK))
            yield stack.enter_context(connection.makefile("rwb"))


def _asked(stream: Any, *words: str) -> Any:
    parts = [word.encode() for word in words]
    stream.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
    stream.flush()
    return _read(stream)


def _read(stream: Any) -> Any:
    """One reply of RESP 2."""
    line = stream.readline().strip()
    kind, rest = line[:1], line[1:]
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [_read(stream) for _ in range(int(rest))]
    return int(rest) if kind == b":" else (kind if kind == b"-" else b"").decode() + rest.decode()
