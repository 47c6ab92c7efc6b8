"""Servers of several processes: each watches for itself, all of them are one instance, and it leaves with the last."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

import pytest
from real_etcd import Etcd
from waiting import eventually

from workers.serving_workers import connections, workers

GUNICORN: Final = ("gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "--graceful-timeout", "5")
UVICORN: Final = ("uvicorn", "--workers", "2", "--port", "{port}", "service:asgi")
UWSGI: Final = (
    *("uwsgi", "--master", "--processes", "2", "--enable-threads", "--die-on-term", "--disable-logging"),
    *("--http-socket", "127.0.0.1:{port}", "--module", "service:wsgi"),
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
    "gunicorn-uvicorn": (*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", "service:asgi"),
    "gunicorn-uvicorn-preload": (*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", "--preload", "service:asgi"),
    "gunicorn-asgi": (*GUNICORN, "-k", "asgi", "service:asgi"),
    "gunicorn-asgi-preload": (*GUNICORN, "-k", "asgi", "--preload", "service:asgi"),
}


OUTSIDE: Final = {server for server in SERVERS if server.endswith("-preload")}
"""Whose master runs the application too, and watches."""


@pytest.mark.parametrize("server", SERVERS)
def test_its_life(server: str, etcd: Etcd, tmp_path: Path) -> None:
    """Rules reach every worker; killed and ended workers leave the instance to the others; the last takes it out."""
    if server.startswith("uwsgi") and shutil.which("uwsgi", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("no uwsgi: pip install uwsgi, which needs a C compiler")
    with workers(SERVERS[server], etcd, tmp_path) as running:
        pids = running.wait_until(2)
        running.share("100%")
        eventually(lambda: running.all_on("v2", 2), 10)
        eventually(lambda: pids <= connections(etcd).keys(), 10)
        eventually(lambda: etcd.watchers() == 2 + (server in OUTSIDE), 10)
        assert max(connections(etcd).values()) <= 2, "one watches, one of them speaks for all"
        os.kill(min(pids), signal.SIGKILL)
        eventually(lambda: running.all_on("v2", 2), 20)
        eventually(running.is_registered)
        os.kill(max(pids), signal.SIGTERM)
        eventually(lambda: running.all_on("v2", 2) and not pids & running.versions().keys(), 20)
        eventually(running.is_registered)
        running.service.terminate()
        assert not running.is_registered(), running.service.output
        noise = re.findall("Exception ignored.*|watching .* failed.*|Fatal.*|.*unlocked lock.*", running.service.output)
        assert not noise, running.service.output
        eventually(lambda: etcd.watchers() == 0)


RECYCLED: Final = {
    "gunicorn-sync": (*GUNICORN, "--max-requests", "20", "--max-requests-jitter", "20", "service:wsgi"),
    "uvicorn": (*UVICORN[:-1], "--limit-max-requests", "40", "service:asgi"),
}


@pytest.mark.parametrize("server", RECYCLED)
def test_workers_that_are_recycled_leave_the_instance_to_their_siblings(
    server: str, etcd: Etcd, tmp_path: Path
) -> None:
    with workers(RECYCLED[server], etcd, tmp_path) as running:
        seen = running.wait_until(2)

        def recycled() -> bool:
            seen.update(running.versions())
            return len(seen) >= 6

        eventually(recycled, 60)
        eventually(running.is_registered)
        running.service.terminate()
        assert not running.is_registered(), running.service.output


EARLY: Final = {
    "uvicorn": UVICORN,
    "gunicorn-gthread": SERVERS["gunicorn-gthread"],
    "gunicorn-gevent": SERVERS["gunicorn-gevent"],
    "gunicorn-uvicorn-preload": SERVERS["gunicorn-uvicorn-preload"],
}


@pytest.mark.parametrize("server", EARLY)
def test_the_instance_has_left_before_connections_are_refused(server: str, etcd: Etcd, tmp_path: Path) -> None:
    with workers(EARLY[server], etcd, tmp_path) as running:
        running.wait_until(2)
        running.service.process.send_signal(signal.SIGTERM)
        eventually(lambda: not running.is_registered())
        assert running.versions(), "somebody still answers"
        running.service.process.wait(20)


def test_helpers_of_a_server_are_no_workers(etcd: Etcd, tmp_path: Path) -> None:
    """They inherit its sockets, and are still there when it ends."""
    with workers(("python", str(Path(__file__).with_name("with_helpers.py")), "{port}"), etcd, tmp_path) as running:
        running.wait_until(1)
        running.service.process.kill()
        running.service.process.wait()
        eventually(lambda: not running.is_registered(), 25)


def test_uwsgi_without_threads_is_told_so(etcd: Etcd, tmp_path: Path) -> None:
    if shutil.which("uwsgi", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("no uwsgi: pip install uwsgi, which needs a C compiler")
    with workers([word for word in UWSGI if word != "--enable-threads"], etcd, tmp_path) as running:
        eventually(lambda: len(running.versions()) == 2, 30)
        assert running.service.output.count("start it with --enable-threads") == 1
        assert not running.is_registered()
