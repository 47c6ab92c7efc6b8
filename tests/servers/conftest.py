from __future__ import annotations

from collections.abc import Iterator

import pytest
import real_jaeger


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_jaeger.Jaeger]:
    """A real Jaeger, the same for all tests: each has traces of its own."""
    with real_jaeger.running(tmp_path_factory.mktemp("jaeger")) as running:
        yield running
