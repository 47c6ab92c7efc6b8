"""``opentelemetry-instrument`` is enough: applications without a line of graymw take part, served as real processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import Service, free_port, serving

APPS = Path(__file__).parent / "auto_apps"
GRAY = {"x-gray-version": "true"}
COMMANDS = {
    "fastapi": ["uvicorn", "plain:fastapi_app"],
    "starlette": ["uvicorn", "plain:starlette_app"],
    "flask": ["gunicorn", "plain:flask_app"],
    "django": ["gunicorn", "django_plain:application"],
}


@contextmanager
def served(framework: str, folder: Path, environ: dict[str, str]) -> Iterator[Service]:
    port = free_port()
    server, app = COMMANDS[framework]
    where = ["--port", str(port)] if server == "uvicorn" else ["--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    settings = {
        "GRAYMW_SERVICE": "orders",
        "GRAYMW_GRAY_RATIO": "0%",
        "GRAYMW_STATE_DIR": str(folder / "state"),
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "DJANGO_SETTINGS_MODULE": "django_settings",
        **environ,
    }
    command = ["opentelemetry-instrument", server, app, *where]
    with serving(command, settings, folder, port, cwd=APPS) as service:
        yield service


@pytest.mark.parametrize("framework", sorted(COMMANDS))
def test_an_application_without_a_line_decides_carries_and_is_seen(framework: str, tmp_path: Path) -> None:
    with served(framework, tmp_path, {}) as service:
        assert service.ask("/", GRAY).startswith(b"gray.default=v2,gray-rev=")
        assert service.ask("/").startswith(b"gray.default=v1,")
        service.terminate()
        spans = service.output
    assert spans.count('"kind": "SpanKind.SERVER"') == 2
    assert spans.count('"gray.version": "v2"') >= 1
    assert "Traceback" not in spans


@pytest.mark.parametrize(
    "environ", [{"GRAYMW_ENABLED": "false"}, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "urllib3, graymw"}]
)
@pytest.mark.parametrize("framework", sorted(COMMANDS))
def test_it_is_left_alone_where_that_is_asked_for(framework: str, environ: dict[str, str], tmp_path: Path) -> None:
    with served(framework, tmp_path, environ) as service:
        assert service.ask("/", GRAY) == b""
