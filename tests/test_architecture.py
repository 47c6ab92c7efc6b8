"""What the import contract of ``make lint`` does not say: vendors, the bare import, the public names."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import graymw

ROOT = Path(graymw.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if "services" not in path.relative_to(ROOT).parts)

HOMES = {
    "cel": {"core/cel"},
    "re2": {"core/patterns.py"},
    "yaml": {"core/document/yaml_text.py", "cli"},
    "xxhash": {"core/bucketing.py", "core/compiling"},
    "dynaconf": {"settings/files.py"},
    "httpx": {"clients/httpx.py", "demo", "remote/http.py"},
    "httpx2": {"clients/httpx2.py"},
    "h2": {"remote/nacos/http2.py"},
    "requests": {"clients/requests.py"},
    "urllib3": {"clients/urllib3"},
    "aiohttp": {"clients/aiohttp.py"},
    "grpc": {"clients/grpc", "middleware/grpc.py", "middleware/grpc"},
    "starlette": {"middleware/starlette.py", "auto.py"},
    "flask": {"middleware/flask.py", "auto.py"},
    "django": {"middleware/django.py", "django.py", "auto.py"},
    "celery": {"messaging/celery.py"},
    "aio_pika": {"messaging/aio_pika.py"},
    "pika": {"messaging/rabbitmq.py"},
    "openfeature": {"openfeature.py"},
    "prometheus_client": {"telemetry/prometheus.py"},
    "typer": {"cli"},
    "rich": {"cli", "demo"},
}
"""Where a library may be imported; everything else asks the module that does."""


def imports(path: Path) -> Iterator[str]:
    """Names that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after some code."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_imported_where_it_belongs(library: str) -> None:
    strangers = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for name in imports(path)
        if name.partition(".")[0] == library
        and not any(str(path.relative_to(ROOT)).startswith(home) for home in HOMES[library])
    }
    assert not strangers


HEAVY = {
    "aiohttp", "cel", "django", "dynaconf", "flask", "grpc", "httpx", "opentelemetry.sdk", "re2", "requests", "rich",
    "starlette", "typer", "urllib3",
}  # fmt: skip


def test_the_bare_import_loads_nothing_heavy() -> None:
    assert not loaded_by("import graymw") & {*HEAVY, "asyncio", "opentelemetry.trace", "yaml"}


def test_installing_loads_no_library_that_the_application_does_not_use() -> None:
    settings = {"gray_when": "uid % 10 == 0"}
    assert not loaded_by(f"import graymw; graymw.install(lambda environ, start: [], settings={settings})") & HEAVY


@pytest.mark.parametrize("name", sorted(graymw._HOMES))
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    assert getattr(graymw, name).__doc__


def test_public_names_are_sorted_and_complete() -> None:
    assert graymw.__all__ == sorted(graymw._HOMES)
    contract = {
        "GrayMiddleware", "GrayWSGIMiddleware", "RequestFacts", "bucket", "current", "install", "instrument",
        "load_rules", "uninstrument", "use",
    }  # fmt: skip
    assert contract <= set(graymw.__all__)
    assert set(graymw.__all__) <= set(dir(graymw))


@pytest.mark.parametrize(
    "name",
    ["grpc.GrayServerInterceptor", "grpc.GrayAioServerInterceptor", "messaging.consuming", "openfeature.GrayProvider"],
)
def test_modules_beside_the_common_ones_are_reached_without_an_import_of_their_own(name: str) -> None:
    module, _, member = name.partition(".")
    assert f"graymw.{module}" in loaded_by(f"import graymw; graymw.{module}.{member}")


def test_without_the_optional_library_they_name_the_command_that_brings_it() -> None:
    code = (
        "import sys, graymw; sys.modules['grpc'] = None\n"
        "try:\n    graymw.grpc.GrayServerInterceptor\n"
        "except graymw.GrayError as error:\n    print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "grpcio is not installed: pip install 'graymw[grpc]'\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'instal'"):
        _ = graymw.instal  # type: ignore[attr-defined]
