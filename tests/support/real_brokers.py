"""Real message brokers from Debian's packages, on loopback, with ports and folders of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from serving import serving

from graymw.demo.processes import free_ports

LOOPBACK: Final = "127.0.0.1"


def program(patterns: Sequence[str], package: str) -> str:
    """First program that is there; the test is skipped without one, or fails where servers are required."""
    for pattern in patterns:
        for found in sorted(Path("/").glob(pattern.lstrip("/"))):
            if os.access(found, os.X_OK):
                return str(found)
        if found_on_path := shutil.which(pattern):
            return found_on_path
    reason = f"no {patterns[0]}: apt-get install {package}"
    if os.environ.get("GRAYMW_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis in memory; its URL."""
    server = program(["/usr/bin/redis-server", "redis-server"], "redis-server")
    (port,) = free_ports(1)
    command = [server, "--port", str(port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
    with serving([*command, "--dir", str(folder)], {}, folder, port):
        yield f"redis://{LOOPBACK}:{port}/0"


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """A RabbitMQ of one node, and the name service that Erlang wants; its URL."""
    server = program(["/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"], "rabbitmq-server")
    names = program(["/usr/lib/erlang/erts-*/bin/epmd", "epmd"], "rabbitmq-server")
    port, distribution, naming = free_ports(3)
    plugins = folder / "enabled_plugins"
    plugins.write_text("[].\n")
    environ = {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(naming),
        "RABBITMQ_NODENAME": f"graymw{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
    }
    with (
        serving([names, "-address", LOOPBACK, "-port", str(naming)], {}, folder, naming),
        serving([server], environ, folder, port),
    ):
        yield f"amqp://guest:guest@{LOOPBACK}:{port}/%2F"
