"""httpx over HTTP/2 and TLS: routed, with the service's name in TLS, many calls over one connection."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from certificates import Certificates, certificates
from serving import free_port, serving

import graymw
from graymw.runtime.current import default_engine

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    told = " ".join([scope["http_version"], str(scope["client"][1]), headers.get("baggage", "")])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told.encode()})
"""


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    return certificates(tmp_path)


@pytest.fixture
def port(made: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    (tmp_path / "h2app.py").write_text(APP)
    port = free_port()
    command = [
        "hypercorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--certfile",
        str(made.cert),
        "--keyfile",
        str(made.key),
        "h2app:app",
    ]
    # The certificate is for localhost, which is the service's name here; its instance is an address.
    monkeypatch.setenv("GRAYMW_SERVICES", f'{{"localhost": [{{"url": "https://127.0.0.1:{port}", "version": "v2"}}]}}')
    with serving(command, {}, tmp_path, port, cwd=tmp_path):
        graymw.instrument()
        yield port
        graymw.uninstrument()


def test_calls_are_routed_over_one_connection(port: int, made: Certificates) -> None:
    assert default_engine() is not None
    context = ssl.create_default_context(cafile=str(made.ca))
    with httpx.Client(http2=True, verify=context) as client, graymw.use("checkout", "v2"):
        answers = [client.get("https://localhost/") for _ in range(3)]
    assert {answer.http_version for answer in answers} == {"HTTP/2"}
    told = {answer.text for answer in answers}
    assert len(told) == 1, "one connection"
    version, _, baggage = told.pop().split(" ", 2)
    assert (version, baggage.split(",")[0]) == ("2", "gray.checkout=v2")
