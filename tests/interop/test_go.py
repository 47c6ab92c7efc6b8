"""Through a neighbour in Go: what its usual libraries do with a decision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .chain import Chain, Command, built, running, tool
from .contract import GRAY, ThroughANeighbour, members


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
    thousands = 4  # gRPC's core refuses, more or less often, what has over 8,192 bytes of metadata in all

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


class TestSignedDecisions:
    """Go keeps baggage as a map, so members leave it in any order: a signature holds in all of them."""

    @pytest.fixture(scope="class")
    @classmethod
    def chain(cls, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
        signed = {"GRAYMW_TRUST": "signed", "GRAYMW_SECRET": "a secret of thirty-two bytes or so"}
        with running(tmp_path_factory.mktemp("signed"), command(program, "nethttp"), settings=signed) as chain:
            yield chain

    def test_are_inherited_behind_go_in_whatever_order_they_come(self, chain: Chain) -> None:
        orders = set()
        for _ in range(40):
            _, _, last = chain.ask({**GRAY, "baggage": "userId=alice"})
            assert (last["version"], last["reason"]) == ("v2", "inherited")
            orders.add(tuple(members(last["received"])))
        assert len(orders) > 1
        assert {frozenset(order) for order in orders} == {
            frozenset({"gray.checkout", "gray-rev", "gray-sig", "userId"})
        }

    def test_are_not_what_somebody_made_up(self, chain: Chain) -> None:
        first, _, last = chain.ask({"baggage": "gray.checkout=v2,gray-rev=00000000,gray-sig=9999999999.AAAA"})
        assert (first["version"], first["reason"], last["version"]) == ("v1", "default", "v1")
