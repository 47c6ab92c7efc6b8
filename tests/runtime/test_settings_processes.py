"""A server process whose settings file is edited; no request is refused, and nothing is restarted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from serving import Service, free_port, serving
from waiting import eventually

SERVICES = Path(__file__).parent / "services"
RULES = """
schema: 1
releases:
  checkout:
    services: [edge]
    stable: v1
    rules: [{name: even-uids, when: uid % 10 == 0, use: v2}]
"""
SETTINGS = """
service: edge
rules: {rules}
trust: {trust}
user: {user}
egress: {egress}
{more}
"""
FROM_A_CALLER = {"baggage": "gray.checkout=v3"}


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.headers.get("baggage", "").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that answers with the baggage it got."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class Edited:
    """A settings file and the process that follows it."""

    def __init__(self, folder: Path) -> None:
        self.service: Service
        self._path = folder / "graymw.yaml"
        self._told = {"rules": str(folder / "rules.yaml"), "more": ""}
        (folder / "rules.yaml").write_text(RULES)
        self.write(trust="private", user="header:x-user-id", egress=".test")

    @property
    def path(self) -> Path:
        return self._path

    def write(self, **told: str) -> None:
        self._told |= told
        new = self._path.with_suffix(".new")
        new.write_text(SETTINGS.format(**self._told))
        new.replace(self._path)

    def version(self, headers: dict[str, str]) -> str | None:
        version: str | None = json.loads(self.service.ask("/decided", headers))["version"]
        return version

    def sent(self) -> str:
        baggage: str = json.loads(self.service.ask("/call", {"x-uid": "40", "x-user-id": "40"}))["baggage"]
        return baggage

    def status(self) -> list[str]:
        """Problems that ``graymw status`` tells."""
        command = [sys.executable, "-m", "graymw", "status", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._path.parent, check=False)
        problems: list[str] = json.loads(done.stdout)["problems"]
        assert done.returncode == bool(problems)
        return problems


def test_trust_identity_and_egress_follow_the_file(tmp_path: Path, echo: int) -> None:
    edited, port = Edited(tmp_path), free_port()
    command = ["python", "-m", "uvicorn", "followed_service:app", "--port", str(port), "--app-dir", str(SERVICES)]
    environ = {"HOME": str(tmp_path), "ECHO_PORT": str(echo), "GRAYMW_SETTINGS": str(edited.path)}
    with serving(command, environ, tmp_path, port, cwd=tmp_path) as edited.service:
        assert edited.version(FROM_A_CALLER) == "v3"
        edited.write(trust="none")
        eventually(lambda: edited.version(FROM_A_CALLER) == "v1")

        assert (edited.version({"x-user-id": "40"}), edited.version({"x-uid": "40"})) == ("v2", "v1")
        edited.write(user="header:x-uid")
        eventually(lambda: (edited.version({"x-user-id": "40"}), edited.version({"x-uid": "40"})) == ("v1", "v2"))

        assert edited.sent().startswith("gray.checkout=v2")
        edited.write(egress=".internal")
        eventually(lambda: edited.sent() == "")

        edited.write(more="zone: b")
        eventually(lambda: any("needs a restart to take GRAYMW_ZONE" in told for told in edited.status()), 20)
        edited.write(trust="everybody", more="")
        eventually(lambda: any("keeps its last good settings: GRAYMW_TRUST" in told for told in edited.status()), 20)
        assert edited.version(FROM_A_CALLER) == "v1"
        edited.write(trust="all")
        eventually(lambda: edited.version(FROM_A_CALLER) == "v3")
        eventually(lambda: edited.status() == [], 20)
    assert edited.service.output.count("the last good settings stay in force") == 1
