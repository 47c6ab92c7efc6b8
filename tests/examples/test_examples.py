"""Each example service starts alone, by the one command of its README."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from graymw import load_rules
from graymw.demo.interruption import Interruption
from graymw.demo.processes import Processes, Service, free_ports
from graymw.settings.loader import load_settings

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = ("fastapi_app", "flask_app")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The examples as a fresh clone has them."""
    copy = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def command_of(folder: Path) -> list[str]:
    """The first command of the README that starts a server."""
    for line in re.findall(r"^    (.+)$", (folder / "README.md").read_text(), re.MULTILINE):
        words = shlex.split(line, comments=True)
        if words[0] in ("uvicorn", "gunicorn"):
            return words
    raise AssertionError(f"{folder} names no command")


@contextmanager
def running(folder: Path, **environ: str) -> Iterator[str]:
    """The service of a folder, started from there by its own command on a free port."""
    command, port = command_of(folder), free_ports(1)[0]
    where = ["--port", str(port)] if command[0] == "uvicorn" else ["--bind", f"127.0.0.1:{port}"]
    service = Service(
        name=folder.name,
        version="v1",
        server=command[0],
        port=port,
        command=[sys.executable, "-m", *command, *where],
        environ=os.environ | {"PYTHONUNBUFFERED": "1"} | environ,
        cwd=folder,
        log=folder / "log",
    )
    with Interruption() as interruption, Processes(interruption) as processes:
        processes.start([service])
        processes.wait_ready(lambda _: None)
        yield service.url
    assert "Traceback" not in service.log_text()


def ask(url: str, **headers: str) -> Any:
    answer = httpx.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}, trust_env=False)
    answer.raise_for_status()
    return answer.json()


NOBODY = '{"orders": [{"url": "http://127.0.0.1:1", "version": "v1"}], "payments": [{"url": "http://127.0.0.1:1"}]}'


@pytest.mark.parametrize(
    ("folder", "path", "service"), [("fastapi_app", "checkout", "edge"), ("flask_app", "order", "orders")]
)
def test_it_answers_and_says_that_its_neighbour_does_not(clone: Path, folder: str, path: str, service: str) -> None:
    with running(clone / folder, GRAYMW_SERVICES=NOBODY) as url:
        answer = ask(f"{url}/{path}", x_user_id="40")
    assert (answer["service"], answer["version"]) == (service, "v1")
    assert "error" in answer["next"]


def test_payments_is_the_same_app_folder_with_another_name(clone: Path) -> None:
    (clone / "fastapi_app" / "README.md").write_text("    uvicorn payments:app\n")
    with running(clone / "fastapi_app", GRAYMW_SERVICE="payments", GRAYMW_VERSION="v2") as url:
        assert ask(f"{url}/pay")["version"] == "v2"


@pytest.mark.parametrize("name", ["fastapi_app/main.py", "fastapi_app/payments.py", "flask_app/main.py"])
def test_the_gray_part_is_one_line(name: str) -> None:
    lines = [line.partition("#")[0].strip() for line in (EXAMPLES / name).read_text().splitlines()]
    assert [line for line in lines if "graymw" in line] == ["import graymw", "graymw.install(app)"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_its_settings_name_the_services_it_calls_and_the_rules_all_share(
    folder: str,
) -> None:
    settings = load_settings(environ={}, directory=EXAMPLES / folder)
    assert {instance.version for instance in settings.services["payments"]} == {"v1", "v2"}
    rules = (EXAMPLES / folder / settings.rules).resolve()
    assert rules == EXAMPLES / "rules.yaml"
    assert load_rules(rules).document.governing("payments") is not None
