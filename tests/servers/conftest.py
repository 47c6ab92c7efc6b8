from __future__ import annotations

from collections.abc import Iterator

import pytest
import real_etcd
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


@pytest.fixture(scope="session", params=real_etcd.PROGRAMS)
def etcd_version(request: pytest.FixtureRequest) -> str:
    """Release line of etcd."""
    return str(request.param)


@pytest.fixture(scope="session")
def _etcd_server(etcd_version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_etcd.Etcd]:
    server = real_etcd.Etcd(real_etcd.PROGRAMS[etcd_version](), tmp_path_factory.mktemp("etcd")).start()
    yield server
    server.stop()


@pytest.fixture
def etcd(_etcd_server: real_etcd.Etcd) -> real_etcd.Etcd:
    """A real etcd of each release line, running and empty; a test may stop it."""
    _etcd_server.clear()
    return _etcd_server
