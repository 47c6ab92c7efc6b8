from __future__ import annotations

from collections.abc import Iterator

import jaeger as jaeger_server
import pytest


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[jaeger_server.Jaeger]:
    """A real Jaeger, the same for all tests: each has traces of its own."""
    with jaeger_server.running(tmp_path_factory.mktemp("jaeger")) as running:
        yield running
