"""Servers of several processes: each watches for itself, all of them are one instance, and it leaves with the last."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import pytest
from real_etcd import Etcd
from waiting import eventually

from workers.serving_workers import connections, workers

GUNICORN: Final = ("gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "--graceful-timeout", "5")
UVICORN: Final = ("uvicorn", "--workers", "2", "--port", "{port}", "service:asgi")
UWSGI: Final = tuple(
    [
        "uwsgi",
        "--master",
        "--processes",
        "2",
        "--http-socket",
        "127.0.0.1:{port}",
        "--enable-threads",
        "--die-on-term",
        "--module",
        "service:wsgi",
    ]
)
SERVERS: Final = {
    "uwsgi": UWSGI,
    "uwsgi-lazy": (*UWSGI, "--lazy-apps"),
    "uvicorn": UVICORN,
    "gunicorn-sync": (*GUNICORN, "service:wsgi"),
    "gunicorn-sync-preload": (*GUNICORN, "--preload", "service:wsgi"),
    "gunicorn-gthread": (*GUNICORN, "-k", "gthread", "--threads", "3", "service:wsgi"),
    "gunicorn-gthread-preload": (*GUNICORN, "-k", "gthread", "--threads", "3", "--preload", "service:wsgi"),
    "gunicorn-gevent": (*GUNICORN, "-k", "gevent", "service:wsgi"),
    "gunicorn-gevent-preload": (*GUNICORN, "-k", "gevent", "--preload", "service:wsgi"),
    "gunicorn-asgi": (*GUNICORN, "-k", "asgi", "service:asgi"),
    "gunicorn-asgi-preload": (*GUNICORN, "-k", "asgi", "--preload", "service:asgi"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_its_life(server: str, etcd: Etcd, tmp_path: Path) -> None:
    with workers(SERVERS[server], etcd, tmp_path) as running:
        pids = running.wait_until(2)
        running.share("100%")
        eventually(lambda: running.all_on("v2", 2))
        eventually(lambda: pids <= connections(etcd).keys())
        print(connections(etcd), etcd.watchers(), pids, running.service.process.pid)
        os.kill(min(pids), signal.SIGKILL)
        eventually(lambda: running.all_on("v2", 2), 20)
        eventually(running.is_registered)
        os.kill(max(pids), signal.SIGTERM)
        eventually(lambda: running.all_on("v2", 2) and not pids & running.versions().keys(), 20)
        eventually(running.is_registered)
        print(running.service.terminate(), running.is_registered())
        print(running.service.output)
        assert not running.is_registered()
