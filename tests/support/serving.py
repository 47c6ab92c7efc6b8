"""Services in processes of their own, on loopback sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from waiting import eventually


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Service:
    """A running process that serves."""

    def __init__(self, process: subprocess.Popen[str], port: int, output: Path) -> None:
        self.process = process
        self.port = port
        self._output = output

    def ask(self, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> bytes:
        request = Request(f"http://127.0.0.1:{self.port}{path}", data=body, headers=dict(headers or {}))
        with urlopen(request, timeout=10) as response:
            return bytes(response.read())

    @property
    def output(self) -> str:
        return self._output.read_text()

    def terminate(self, seconds: float = 20) -> int:
        """Ask it to end, as service managers do; its return code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def serving(
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    port: int,
    *,
    cwd: Path | None = None,
    seconds: float = 30,
) -> Iterator[Service]:
    """Run a command of this Python's environment until it serves, and end it afterwards.

    Args:
        command: Program and arguments; ``python`` is this Python.
        environ: Besides what the process needs anyway.
        folder: Where its output is kept.
        seconds: How long it may take until it listens.
    """
    programs = Path(sys.executable).parent
    program = sys.executable if command[0] == "python" else str(programs / command[0])
    output = folder / f"output-{port}.txt"
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "GRAYMW_STATE_DIR") if name in os.environ}
    kept["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    with output.open("w") as sink:
        process = subprocess.Popen(
            [program, *command[1:]],
            env={**kept, "PYTHONUNBUFFERED": "1", **environ},
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            start_new_session=True,
        )
    service = Service(process, port, output)
    try:
        eventually(lambda: process.poll() is not None or _accepts(port), seconds)
        assert process.poll() is None, service.output
        yield service
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
