"""A preforking server that sets everything up in its master and serves from forked workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually

from graymw.runtime.process_status import read_all
from graymw.runtime.state_dir import StateDir

APP = """
import os
import graymw

def app(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"{os.getpid()} {graymw.current().version()}".encode()]

app = graymw.install(app)
"""


class Server:
    """gunicorn with two workers and ``--preload``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = StateDir(folder / "state")
        (folder / "shop.py").write_text(APP)
        self.share("0%")
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        environ = os.environ | {
            "GRAYMW_RULES": "rules.yaml",
            "GRAYMW_SERVICE": "shop",
            "GRAYMW_STATE_DIR": "state",
        }
        with listener:
            self.master = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "--preload",
                    "-w",
                    "2",
                    "-b",
                    f"fd://{listener.fileno()}",
                    "shop:app",
                ],
                cwd=folder,
                env=environ,
                pass_fds=[listener.fileno()],
                stderr=subprocess.PIPE,
            )

    def share(self, percentage: str) -> None:
        new = self.folder / "rules.new"
        new.write_text(f"schema: 1\nreleases: {{shop: {{stable: v1, rules: [{{split: {{v2: {percentage}}}}}]}}}}\n")
        new.replace(self.folder / "rules.yaml")

    def versions(self) -> dict[str, str]:
        """By worker, the version of its latest answer."""
        found = {}
        for _ in range(20):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as answer:
                worker, version = answer.read().decode().split()
                found[worker] = version
        return found

    def stop(self) -> None:
        self.master.send_signal(signal.SIGTERM)
        self.master.communicate(timeout=20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.stop()


def both_on(server: Server, version: str) -> bool:
    versions = server.versions()
    return len(versions) == 2 and set(versions.values()) == {version}


def test_every_worker_takes_every_change_and_tells_its_status(server: Server) -> None:
    eventually(lambda: both_on(server, "v1"), 20)
    server.share("100%")
    eventually(lambda: both_on(server, "v2"))
    workers = {int(worker) for worker in server.versions()}
    os.kill(min(workers), signal.SIGTERM)
    eventually(lambda: both_on(server, "v2") and {int(worker) for worker in server.versions()} != workers, 20)
    server.share("0%")
    eventually(lambda: both_on(server, "v1"))
    eventually(lambda: len({status.revision for status in read_all(server.state)}) == 1)
    assert len(read_all(server.state)) == 3
    server.stop()
    assert read_all(server.state) == []
