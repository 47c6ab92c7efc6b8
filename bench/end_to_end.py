"""CPU per request of a real server: uvicorn and FastAPI on one core, wrk on the other, cases taking turns.

    python -m bench.end_to_end [--seconds 2] [--rounds 5]

Requests a second depend on who else uses the machine; CPU per request much less, so that is what is compared. Spans go
through the SDK's batch processor to an exporter that drops them, the same for every case that records.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.harness import keep

CASES = ("bare", "floor", "graymw", "graymw hop", "graymw, own spans", "contrib, spans", "contrib + graymw, spans")
HEADERS = {
    "x-user-id": "123457",
    "x-region": "us",
    "cookie": "session=8f14e45fceea167a5a36dedd4bea2543",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}
_TICK = os.sysconf("SC_CLK_TCK")


def application(case: str) -> Any:
    """The served application of one case; runs in the server's process."""
    from fastapi import FastAPI
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    import graymw
    from bench.served import Floor, Nothing

    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})

    @app.get("/items/{item}")
    async def item(item: str) -> dict[str, str]:
        return {"item": item}

    settings = {"service": "orders", "version": "v1", "rules": os.environ["BENCH_RULES"]}
    if "spans" in case:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Nothing()))
        trace.set_tracer_provider(provider)
    if case == "floor":
        app.add_middleware(Floor)
    if "graymw" in case:
        graymw.install(app, settings=settings)
    if "contrib" in case:
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        FastAPIInstrumentor.instrument_app(app)
    return app


def serve(case: str, port: int) -> None:
    import uvicorn

    uvicorn.run(application(case), host="127.0.0.1", port=port, log_level="warning", access_log=False)


class Server:
    def __init__(self, case: str, rules: Path) -> None:
        self.case = case
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "bench.end_to_end", "--serve", case, "--port", str(self.port)]
        environment = {**os.environ, "BENCH_RULES": str(rules)}
        self.process = subprocess.Popen([*_pinned(0), *command], env=environment)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(self.url, timeout=1):
                    return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server of {self.case!r} did not start") from None
                time.sleep(0.05)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/items/7"

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def load(server: Server, seconds: int) -> dict[str, float]:
    headers = {**HEADERS, "baggage": "gray.checkout=v2,gray-rev=9f3c2a11"} if "hop" in server.case else HEADERS
    options = [option for name, value in headers.items() for option in ("-H", f"{name}: {value}")]
    before = server.cpu_seconds()
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", *options, server.url]
    done = subprocess.run([*_pinned(1), *command], capture_output=True, text=True, check=True)
    cpu = server.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", done.stdout)[1])  # type: ignore[index]
    if "Non-2xx" in done.stdout:
        raise SystemExit(f"{server.case}: not every answer was 2xx\n{done.stdout}")
    return {"cpu": cpu / requests * 1e6, "rps": requests / seconds}


def _pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port)
        return
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk (or your system's package of that name)")
    from bench.served import RULES

    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"graymw-bench-{os.getpid()}"
    folder.mkdir()
    rules = folder / "rules.json"
    rules.write_text(json.dumps(RULES))
    servers: list[Server] = []
    samples: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    try:
        servers += [Server(case, rules) for case in CASES]
        for server in servers:
            load(server, 1)
        for _ in range(options.rounds):
            for server in servers:
                samples[server.case].append(load(server, options.seconds))
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder)
    _report(samples)


def _report(samples: dict[str, list[dict[str, float]]]) -> None:
    bare = samples["bare"]
    table = Table("case", "CPU us/request", "x bare (paired median)", "requests/s", title="uvicorn + FastAPI, one core")
    report = {}
    for case, runs in samples.items():
        cpu = min(run["cpu"] for run in runs)
        ratio = statistics.median(run["cpu"] / plain["cpu"] for run, plain in zip(runs, bare, strict=True))
        rps = statistics.median(run["rps"] for run in runs)
        report[case] = {"cpu_us": cpu, "times_bare": ratio, "requests_per_second": rps}
        table.add_row(case, f"{cpu:.1f}", f"{ratio:.2f}", f"{rps:,.0f}")
    Console().print(table)
    keep("end_to_end", report)


if __name__ == "__main__":
    main()
