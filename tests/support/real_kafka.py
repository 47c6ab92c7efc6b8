"""A real Kafka of one node, broker and controller in one, on loopback, with ports and a folder of its own."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from serving import serving

from graymw.demo.processes import free_ports

VERSION: Final = "4.1.1"
BUILD: Final = "tests/servers/kafka/build.sh"
LOOPBACK: Final = "127.0.0.1"
_JAVA: Final = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dslf4j.internal.verbosity=ERROR")
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""


def _java() -> list[str]:
    """Command that runs a class of Kafka; the test is skipped without one, or fails where servers are required."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graymw"
    jars = Path(os.environ.get("GRAYMW_CACHE") or base) / f"kafka-{VERSION}"
    java = shutil.which("java")
    if java is None or not jars.is_dir():
        reason = f"no Kafka in {jars}: run {BUILD}" if java else "no java: apt-get install default-jre-headless"
        if os.environ.get("GRAYMW_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return [java, *_JAVA, "-cp", f"{jars}/*"]


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run Kafka until it serves, and end it afterwards; what clients take as bootstrap servers.

    Args:
        folder: Where its settings, data and output are kept.
    """
    java = _java()
    port, controller = free_ports(2)
    properties = folder / "server.properties"
    properties.write_text(
        _PROPERTIES.format(host=LOOPBACK, port=port, controller=controller, data=folder / "data"), encoding="utf-8"
    )
    # 22 letters of base64; the first is no "-", which would make an option of it
    cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), "--standalone"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    with serving([*java, "kafka.Kafka", str(properties)], {}, folder, port):
        yield f"{LOOPBACK}:{port}"
