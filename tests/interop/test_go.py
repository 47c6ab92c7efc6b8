"""Through a neighbour in Go: what its usual libraries do with a decision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .chain import Chain, Command, built, running, tool
from .contract import GRAY, ThroughANeighbour


@pytest.fixture(scope="session")
def program() -> Path:
    """The neighbour, built."""

    def build(_: Path, target: Path) -> list[str]:
        return [
            tool("go", "/usr/local/go/bin"),
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-o",
            str(target / "neighbour"),
            ".",
        ]

    return built("go", build) / "neighbour"


def command(program: Path, kind: str) -> Command:
    return lambda listen, following: [str(program), "-kind", kind, "-listen", listen, "-next", following]


class TestNetHTTPWithOtelhttp(ThroughANeighbour):
    @pytest.fixture(scope="class")
    @classmethod
    def chain(cls, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
        with running(tmp_path_factory.mktemp("nethttp"), command(program, "nethttp")) as chain:
            yield chain


class TestGRPCWithOtelgrpc(ThroughANeighbour):
    @pytest.fixture(scope="class")
    @classmethod
    def chain(cls, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
        folder = tmp_path_factory.mktemp("grpc")
        with running(folder, command(program, "grpc"), path="/grpc", last="last_grpc.py") as chain:
            yield chain


class TestKratosWithItsTracingAndMetadata(ThroughANeighbour):
    """Kratos calls the last hop through its own registry and selector; a filter reads the version from baggage."""

    @pytest.fixture(scope="class")
    @classmethod
    def chain(cls, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
        folder = tmp_path_factory.mktemp("kratos")
        with running(folder, command(program, "kratos"), versions=("v1", "v2")) as chain:
            yield chain

    def test_its_selector_honours_the_decision_of_every_request(self, chain: Chain) -> None:
        for _ in range(10):
            for headers, version in ((GRAY, "v2"), ({}, "v1")):
                first, neighbour, last = chain.ask(headers)
                assert (first["version"], neighbour["version"], last["served"]) == (version, version, version)


class TestGoKitsHTTPTransport(ThroughANeighbour):
    @pytest.fixture(scope="class")
    @classmethod
    def chain(cls, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
        with running(tmp_path_factory.mktemp("gokit"), command(program, "gokit")) as chain:
            yield chain
