"""Python → a neighbour in another language → Python, as processes of their own on loopback sockets."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from serving import Service, free_port, serving

from graymw.demo.receiver import Receiver
from graymw.demo.spans import ExportedSpan, SpanStore

FOLDER = Path(__file__).parent
SERVICES = FOLDER / "services"
RULES = {
    "schema": 1,
    "releases": {
        "checkout": {
            "services": ["last"],
            "stable": "v1",
            "rules": [{"name": "testers", "match": {"header": {"x-gray-version": "true"}}, "use": "v2"}],
        }
    },
}
EDGE, NEIGHBOUR, LAST = "edge", "neighbour", "last"

Command = Callable[[str, str], Sequence[str]]
"""Command of a neighbour that serves at an address and asks the next one at another (``host:port``)."""


def unavailable(reason: str) -> NoReturn:
    """Skip the test; where servers are required, fail it."""
    if os.environ.get("GRAYMW_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def tool(name: str, *folders: str) -> str:
    """Path of a program, sought in PATH and then in these folders."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))
    return found or unavailable(f"{name} is not installed")


def built(language: str, build: Callable[[Path, Path], Sequence[str]]) -> Path:
    """Folder of what was built of a language's sources: built once, kept outside the checkout by a hash of them.

    Args:
        build: Gives the command that builds from one folder into another; called where nothing is kept yet.
    """
    sources = FOLDER / language
    files = sorted(path for path in sources.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(sources)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graymw"
    cache = Path(os.environ.get("GRAYMW_CACHE") or base)
    kept = cache / f"interop-{language}-{digest.hexdigest()[:16]}"
    if not kept.exists():
        unfinished = kept.with_name(f"{kept.name}.{os.getpid()}")
        unfinished.mkdir(parents=True)
        try:
            made = subprocess.run(build(sources, unfinished), check=False, cwd=sources, capture_output=True, text=True)
            assert made.returncode == 0, made.stdout + made.stderr
            with suppress(OSError):  # somebody else was faster
                unfinished.rename(kept)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    assert kept.exists(), f"{kept} could not be written"
    return kept


@dataclass(frozen=True)
class Chain:
    """A running chain.

    Attributes:
        path: What the first hop is asked for.
    """

    first: Service
    path: str
    store: SpanStore

    def ask(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """What each hop knew of a request, the first one's first."""
        said = json.loads(self.first.ask(self.path, headers))
        return [said, said["next"], said["next"]["next"]]

    def trace(self, trace_id: str, is_complete: Callable[[list[ExportedSpan]], bool]) -> list[ExportedSpan]:
        """Spans of a trace once it is complete."""
        self.store.wait([trace_id], is_complete, 20)
        return self.store.trace(trace_id)


@contextmanager
def running(
    folder: Path,
    neighbour: Command,
    *,
    environ: Mapping[str, str] | None = None,
    path: str = "/http",
    last: str = "last.py",
    versions: Sequence[str] = ("",),
    settings: Mapping[str, str] | None = None,
) -> Iterator[Chain]:
    """Run a chain.

    Args:
        neighbour: Is told the last hop's address, or ``v1=host:port,v2=host:port`` where that has versions.
        environ: What the neighbour needs besides the standard OpenTelemetry variables.
        last: Script of the last hop.
        versions: Of the last hop, each a process.
        settings: More of graymw's variables, for the first and the last hop.
    """
    rules = folder / "rules.json"
    rules.write_text(json.dumps(RULES))
    store = SpanStore()
    with Receiver(store) as receiver, ExitStack() as stack:
        telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

        def python(script: Sequence[str], service: str, version: str, port: int, **more: str) -> Service:
            own = {"GRAYMW_SERVICE": service, "GRAYMW_VERSION": version, "GRAYMW_RULES": str(rules)}
            variables = {**telemetry, **own, **(settings or {}), **more}
            return stack.enter_context(serving(["python", *script, str(port)], variables, folder, port, cwd=SERVICES))

        lasts = {version: free_port() for version in versions}
        for version, port in lasts.items():
            python([last], LAST, version, port)
        addresses = [f"{version}=127.0.0.1:{port}".removeprefix("=") for version, port in lasts.items()]
        port = free_port()
        between = f"127.0.0.1:{port}"
        named = {**telemetry, "OTEL_SERVICE_NAME": NEIGHBOUR, **(environ or {})}
        stack.enter_context(serving(neighbour(between, ",".join(addresses)), named, folder, port))
        first = python(["-m", "uvicorn", "first:app", "--port"], EDGE, "", free_port(), NEXT=between)
        yield Chain(first, path, store)
