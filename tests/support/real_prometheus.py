"""A real Prometheus on loopback, and what its HTTP API answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from real_servers import LOOPBACK, binary, real_server

from graymw.demo.processes import free_ports

RULES: Final = Path(__file__).parents[2] / "docs" / "prometheus" / "graymw-alerts.yaml"
_OPENER: Final = build_opener(ProxyHandler({}))
_CONFIG: Final = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: services
    file_sd_configs: [{{files: [{targets}], refresh_interval: 1s}}]
"""


class QueryError(AssertionError):
    """Prometheus does not understand a query."""


class Prometheus:
    """A running Prometheus.

    Args:
        port: Where it listens.
        targets: File that says what it scrapes.
    """

    def __init__(self, port: int, targets: Path) -> None:
        self._url = f"http://{LOOPBACK}:{port}"
        self._targets = targets

    def get(self, path: str, **query: str) -> Any:
        """Data of an answer of its API.

        Raises:
            QueryError: It answers with an error.
        """
        url = f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            with _OPENER.open(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            with error:
                raise QueryError(f"{query}: {error.read().decode()}") from None

    def is_ready(self) -> bool:
        """Whether it can be asked."""
        with _OPENER.open(f"{self._url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)

    def scrape(self, jobs: Mapping[str, int]) -> None:
        """Scrape these from now on, and nothing else.

        Args:
            jobs: Port by the name of a job.
        """
        found = [{"targets": [f"{LOOPBACK}:{port}"], "labels": {"job": job}} for job, port in jobs.items()]
        written = self._targets.with_suffix(".new")
        written.write_text(json.dumps(found))
        written.replace(self._targets)

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of an expression's series, now; a scalar has no labels."""
        data = self.get("/api/v1/query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def by(self, expression: str, *labels: str) -> dict[Any, float]:
        """Values of an expression by some of its labels; by the only one without a tuple."""
        found = {}
        for held, value in self.query(expression):
            key = tuple(held.get(label, "") for label in labels)
            found[key[0] if len(key) == 1 else key] = value
        return found


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Prometheus's own checker."""
    program = binary("promtool", variable="PROMTOOL_BINARY", package="prometheus")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@contextmanager
def running(folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus with our alert rules until it is ready, and end it afterwards.

    Args:
        folder: Where its data and its output are kept.
    """
    program = binary("prometheus", variable="PROMETHEUS_BINARY", package="prometheus")
    (port,) = free_ports(1)
    targets, config = folder / "targets.json", folder / "prometheus.yml"
    targets.write_text("[]")
    config.write_text(_CONFIG.format(rules=RULES, targets=targets))
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--log.level=warn",
    ]
    prometheus = Prometheus(port, targets)
    with real_server(command, folder, port, prometheus.is_ready):
        yield prometheus
