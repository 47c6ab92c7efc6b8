"""The chain of services: edge, then orders, then payments, the latter two in two versions each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from graymw.demo.processes import Service, free_ports

_FASTAPI: Final = "FastAPI under uvicorn"
_FLASK: Final = "Flask under gunicorn"
_MEMBERS: Final = (
    ("payments", "v1", _FASTAPI),
    ("payments", "v2", _FASTAPI),
    ("orders", "v1", _FLASK),
    ("orders", "v2", _FLASK),
    ("edge", "v1", _FASTAPI),
)
"""In the order of their start: the called before their callers."""

_FOREIGN_PREFIXES: Final = ("GRAYMW_", "OTEL_", "UVICORN_", "GUNICORN_", "FASTAPI_", "FLASK_")
_FOREIGN: Final = frozenset({"WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"})


def sources() -> Path:
    """Folder of the example services: beside this module in an installed package, ``examples/`` in a checkout."""
    packaged = Path(__file__).parent / "services"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "examples"


def chain(directory: Path, *, rules: Path, otlp_endpoint: str, environ: Mapping[str, str]) -> list[Service]:
    """The services, not yet started.

    Args:
        directory: Where they keep logs and state.
        rules: The rule document all of them follow.
        otlp_endpoint: Where they export their spans to.
        environ: Environment to start from; settings meant for other programs are taken out.
    """
    ports = free_ports(len(_MEMBERS))
    table: dict[str, list[dict[str, str]]] = {}
    for (name, version, _), port in zip(_MEMBERS, ports, strict=True):
        table.setdefault(name, []).append({"url": f"http://127.0.0.1:{port}", "version": version})
    common = _clean(environ) | {
        "GRAYMW_RULES": str(rules),
        "GRAYMW_SERVICES": json.dumps(table),
        "GRAYMW_STATE_DIR": str(directory / "state"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp_endpoint,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "NO_PROXY": "*",
        "PYTHONUNBUFFERED": "1",
    }
    return [
        Service(
            name=name,
            version=version,
            server=server,
            port=port,
            command=_command(name, port),
            environ=common | {"GRAYMW_SERVICE": name, "GRAYMW_VERSION": version},
            cwd=directory,
            log=directory / f"{name}-{version}.log",
        )
        for (name, version, server), port in zip(_MEMBERS, ports, strict=True)
    ]


def _command(name: str, port: int) -> list[str]:
    if name == "orders":
        folder = sources() / "flask_app"
        options = ["--config", str(folder / "gunicorn.conf.py"), "--pythonpath", str(folder)]
        return [sys.executable, "-m", "gunicorn", "main:app", "--bind", f"127.0.0.1:{port}", *options]
    app = "main:app" if name == "edge" else f"{name}:app"
    folder = sources() / "fastapi_app"
    return [
        sys.executable, "-m", "uvicorn", app, "--app-dir", str(folder), "--port", str(port), "--no-access-log"
    ]  # fmt: skip


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment without settings that are meant for other programs, proxies included: all traffic is loopback."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_FOREIGN_PREFIXES) and name not in _FOREIGN and not name.lower().endswith("_proxy")
    }


def replace_file(path: Path, text: str) -> None:
    """Write a file as a whole: a reader sees the old text or the new one, never half of it."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
