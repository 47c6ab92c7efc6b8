"""Through a neighbour in Java: what OpenTelemetry's agent does with a decision, without a line in the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .chain import Chain, built, running, tool
from .contract import ThroughANeighbour

QUIET = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "50"}


class TestTheJDKWithTheAgent(ThroughANeighbour):
    @pytest.fixture(scope="class")
    @classmethod
    def chain(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
        java = tool("java")

        def build(sources: Path, target: Path) -> list[str]:
            pom = str(sources / "pom.xml")
            return [tool("mvn"), "--batch-mode", "--quiet", "-f", pom, f"-Doutput={target}", "process-classes"]

        folder = built("java", build)
        program = [java, f"-javaagent:{folder / 'agent.jar'}", "-cp", str(folder / "classes"), "Neighbour"]

        def command(listen: str, following: str) -> list[str]:
            return [*program, listen.partition(":")[2], following]

        with running(tmp_path_factory.mktemp("java"), command, environ=QUIET) as chain:
            yield chain
