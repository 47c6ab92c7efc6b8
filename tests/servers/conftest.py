from __future__ import annotations

from collections.abc import Iterator

import pytest
import real_jaeger
import real_prometheus


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_jaeger.Jaeger]:
    """A real Jaeger, the same for all tests: each has traces of its own."""
    with real_jaeger.running(tmp_path_factory.mktemp("jaeger")) as running:
        yield running


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_prometheus.Prometheus]:
    """A real Prometheus with our alert rules; tests tell it what to scrape."""
    with real_prometheus.running(tmp_path_factory.mktemp("prometheus")) as running:
        yield running
