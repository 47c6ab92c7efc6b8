from __future__ import annotations

from collections.abc import Iterator

import pytest
import real_etcd


@pytest.fixture(scope="session")
def _etcd_of_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_etcd.Etcd]:
    server = real_etcd.Etcd(real_etcd.wheel_etcd(), tmp_path_factory.mktemp("etcd")).start()
    yield server
    server.stop()


@pytest.fixture
def etcd(_etcd_of_workers: real_etcd.Etcd) -> real_etcd.Etcd:
    """A real etcd, running and empty; a test may stop it."""
    _etcd_of_workers.clear()
    return _etcd_of_workers
