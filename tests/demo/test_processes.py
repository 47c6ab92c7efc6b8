# ruff: noqa: PT012 - what leaves a context manager is the point here, so the block is more than one call
from __future__ import annotations

import os
import signal
import socket
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from graymw.demo.guardian import signal_group
from graymw.demo.interruption import Interrupted, Interruption
from graymw.demo.processes import Processes, Service, ServiceFailedError, free_ports

SERVER = """
    import http.server, sys
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *args): pass
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
WITH_A_CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


def service(tmp_path: Path, code: str = SERVER, name: str = "orders") -> Service:
    port = free_ports(1)[0]
    return Service(
        name=name,
        version="v1",
        server="http.server",
        port=port,
        command=[sys.executable, "-c", textwrap.dedent(code), str(port)],
        environ=os.environ,
        cwd=tmp_path,
        log=tmp_path / f"{name}.log",
    )


def group_of(started: Service) -> int:
    assert started.pid is not None
    return started.pid


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_ports_are_free_and_different() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            assert port not in free_ports(5)


def test_services_are_ready_when_they_answer_and_gone_afterwards(tmp_path: Path) -> None:
    one, two = service(tmp_path, name="one"), service(tmp_path, name="two")
    ready: list[Service] = []
    with Interruption() as interruption, Processes(interruption) as processes:
        processes.start([one, two])
        processes.wait_ready(ready.append)
        assert one.is_running
        assert two.answers()
        processes.check_running()
    assert sorted(map(str, ready)) == ["one v1", "two v1"]
    assert not one.is_running
    assert not signal_group(group_of(two), 0)


def test_a_service_that_fails_is_named_with_what_it_said_last(tmp_path: Path) -> None:
    failing = service(tmp_path, "import sys; print('line 1'); sys.exit('no such module: flask')")
    with (
        pytest.raises(ServiceFailedError, match="orders v1 ended at once with exit code 1") as raised,
        Interruption() as interruption,
        Processes(interruption) as processes,
    ):
        processes.start([failing])
        processes.wait_ready(lambda _: None)
    assert sorted(raised.value.log_tail) == ["line 1", "no such module: flask"]


def test_a_service_that_never_answers_is_given_up_on(tmp_path: Path) -> None:
    silent = service(tmp_path, "import time; time.sleep(60)")
    with (
        pytest.raises(ServiceFailedError, match="did not answer within 0 s"),
        Interruption() as interruption,
        Processes(interruption) as processes,
    ):
        processes.start([silent])
        processes.wait_ready(lambda _: None, timeout=0.2)
    assert not silent.is_running


def test_a_service_that_ends_on_its_own_is_noticed(tmp_path: Path) -> None:
    server = service(tmp_path)
    with Interruption() as interruption, Processes(interruption) as processes:
        processes.start([server])
        processes.wait_ready(lambda _: None)
        os.kill(group_of(server), signal.SIGKILL)
        assert until(lambda: not server.is_running)
        with pytest.raises(ServiceFailedError, match="ended on its own with exit code -9"):
            processes.check_running()


def test_children_of_a_service_end_too_even_where_it_left_them_behind(tmp_path: Path) -> None:
    parent = service(tmp_path, WITH_A_CHILD)
    with Interruption() as interruption, Processes(interruption) as processes:
        processes.start([parent])
        assert until(lambda: not parent.is_running)
        assert signal_group(group_of(parent), 0)
    assert not signal_group(group_of(parent), 0)


def test_an_interruption_while_services_start_ends_them(tmp_path: Path) -> None:
    server = service(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(Interrupted), Interruption() as interruption, Processes(interruption) as processes:
        processes.start([server])
        os.kill(os.getpid(), signal.SIGINT)
    assert not signal_group(group_of(server), 0)


def test_a_second_interruption_does_not_wait_for_who_does_not_obey(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    stubborn = service(tmp_path, code)
    with pytest.raises(Interrupted), Interruption() as interruption:
        processes = Processes(interruption).__enter__()
        processes.start([stubborn])
        assert until(lambda: "up" in stubborn.log_text())
        with interruption.shielded():
            os.kill(os.getpid(), signal.SIGINT)
            processes.__exit__()
    assert stubborn.process is not None
    assert stubborn.process.returncode == -signal.SIGKILL
