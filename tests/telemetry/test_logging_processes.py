"""The recipes of ``docs/logging.md`` with real servers, and the access lines that leave them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from one_span import GRAY, TRACE, TRACEPARENT
from serving import Service, free_port, serving
from waiting import eventually

SERVICES = Path(__file__).parent / "services"
DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "logging.md").read_text()
UVICORN = ("python", "-m", "uvicorn", "logging_service:asgi")
GUNICORN = ("python", "-m", "gunicorn", "logging_service:wsgi", "--no-control-socket")
RECORD = f"INFO shop working version=v2 trace={TRACE}"


def recipe(name: str, folder: Path) -> str:
    """Path of a file with what the documentation says should stand in it."""
    found = re.search(rf"<!-- recipe: {re.escape(name)} -->\n```\w+\n(.*?)```", DOCUMENTATION, re.DOTALL)
    assert found is not None
    path = folder / name
    path.write_text(found[1])
    return str(path)


@pytest.fixture
def environ(settings: dict[str, Any]) -> dict[str, str]:
    return {f"GRAYMW_{name.upper()}": value for name, value in settings.items()}


def run(command: Sequence[str], environ: dict[str, str], folder: Path, *more: str) -> Any:
    port = free_port()
    address = ("--bind", f"127.0.0.1:{port}") if "gunicorn" in command else ("--port", str(port))
    return serving([*command, *address, *more], {"HOME": str(folder), **environ}, folder, port, cwd=SERVICES)


def ask(service: Service, times: int = 1) -> None:
    for _ in range(times):
        assert json.loads(service.ask("/hello", {**GRAY, **TRACEPARENT})) == {"version": "v2"}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


class TestRecipes:
    def test_of_uvicorn(self, environ: dict[str, str], tmp_path: Path) -> None:
        environ["GRAYMW_ACCESS_LOG"] = "stdout"
        with run(UVICORN, environ, tmp_path, "--log-config", recipe("logging.json", tmp_path)) as service:
            ask(service, 2)
            service.terminate()
        output = service.output.splitlines()
        assert output.count(RECORD) == 2
        assert any(re.fullmatch(r"INFO uvicorn\.error Started server process .* version= trace=", x) for x in output)
        assert "GET /hello" not in service.output
        assert [(line["version"], line["trace_id"]) for line in lines(service.output)] == [("v2", TRACE)] * 2

    def test_of_gunicorn(self, environ: dict[str, str], tmp_path: Path) -> None:
        environ["GRAYMW_ACCESS_LOG"] = "stdout"
        with run(GUNICORN, environ, tmp_path, "-c", recipe("gunicorn.conf.py", tmp_path)) as service:
            ask(service, 2)
            assert service.terminate() == 0
        output = service.output.splitlines()
        assert output.count(RECORD) == 2
        assert any(re.fullmatch(r"INFO gunicorn\.error Listening at: .* version= trace=", x) for x in output)
        assert [(line["version"], line["trace_id"]) for line in lines(service.output)] == [("v2", TRACE)] * 2


class TestAccessLog:
    @pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
    def test_workers_write_to_one_file_until_the_last_line(
        self, environ: dict[str, str], tmp_path: Path, preload: tuple[str, ...]
    ) -> None:
        path = tmp_path / "access.jsonl"
        environ |= {"GRAYMW_ACCESS_LOG": str(path)}
        with run(GUNICORN, environ, tmp_path, "--workers", "2", *preload) as service:
            ask(service, 20)
            assert service.terminate() == 0
        written = lines(path.read_text())
        assert len(written) == 20
        assert {(line["status"], line["rule"], line["honoured"]) for line in written} == {(200, "testers", False)}

    def test_the_last_line_before_uvicorn_lets_itself_be_killed(self, environ: dict[str, str], tmp_path: Path) -> None:
        path = tmp_path / "access.jsonl"
        with run(UVICORN, {**environ, "GRAYMW_ACCESS_LOG": str(path)}, tmp_path) as service:
            ask(service)
            assert service.terminate() in (0, -signal.SIGTERM)
        assert len(lines(path.read_text())) == 1

    def test_a_rotated_file_is_made_anew_without_a_signal(self, environ: dict[str, str], tmp_path: Path) -> None:
        path, rotated = tmp_path / "access.jsonl", tmp_path / "access.jsonl.1"
        with run(UVICORN, {**environ, "GRAYMW_ACCESS_LOG": str(path)}, tmp_path) as service:
            ask(service)
            eventually(path.exists)
            eventually(lambda: lines(path.read_text()))
            path.rename(rotated)
            ask(service, 2)
            service.terminate()
        assert (len(lines(rotated.read_text())), len(lines(path.read_text()))) == (1, 2)

    def test_what_was_logged_can_be_simulated_under_other_rules(self, environ: dict[str, str], tmp_path: Path) -> None:
        path, rules = tmp_path / "access.jsonl", tmp_path / "tomorrow.yaml"
        rules.write_text(
            "{schema: 1, releases: {checkout: {services: [orders], stable: v1,"
            " rules: [{when: 'uid % 2 == 0', use: v3}]}}}"
        )
        logged = {**environ, "GRAYMW_ACCESS_LOG": str(path), "GRAYMW_ACCESS_LOG_FACTS": "true"}
        with run(UVICORN, logged, tmp_path) as service:
            for user in range(6):
                service.ask("/hello", {"x-user-id": str(user)})
            service.terminate()
        told = _simulated(rules, path, tmp_path)
        assert told["releases"]["checkout"]["versions"]["v3"]["count"] == 3, told


def _simulated(rules: Path, requests: Path, folder: Path) -> Any:
    command = [sys.executable, "-m", "graymw", "simulate", "--rules", str(rules), "--requests", str(requests), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_lost_call_is_told_once_with_its_places(environ: dict[str, str], tmp_path: Path) -> None:
    with run(GUNICORN, {**environ, "GRAYMW_DETECT_LOST_CONTEXT": "true"}, tmp_path) as service:
        for _ in range(3):
            service.ask("/lost", GRAY)
        service.terminate()
    (told,) = [line for line in service.output.splitlines() if "lost the context" in line]
    place = re.escape(str(SERVICES / "logging_service.py"))
    assert re.search(rf"the call to payments at {place}:\d+ in call has lost the context of its request", told)
    assert re.search(rf"the thread started at {place}:\d+ in lost does not carry it", told)
