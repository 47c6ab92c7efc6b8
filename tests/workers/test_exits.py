"""A process ends when it wants to, as it wants to, whatever its registry does."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WAYS = {
    "its end": ("pass", 0),
    "sys.exit": ("import sys; sys.exit(3)", 3),
    "SIGTERM": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "os._exit": ("import os; os._exit(4)", 4),
}
GEVENT = "from gevent import monkey; monkey.patch_all()\n"


@pytest.fixture
def silent() -> Iterator[int]:
    """A registry that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def ran(script: str, port: int, folder: Path) -> tuple[int, str]:
    """Return code and what was written, of a script that registers and watches."""
    environ = os.environ | {
        "GRAYMW_REGISTRY": f"etcd://127.0.0.1:{port}",
        "GRAYMW_REGISTER": "true",
        "GRAYMW_SERVICE": "job",
        "GRAYMW_ADDRESS": "127.0.0.1:9",
        "GRAYMW_STATE_DIR": str(folder / "state"),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, timeout=30, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def started(*, waits: bool) -> str:
    """A script's beginning: watching, and in the middle of a request to the registry where it waits."""
    wait = "import time; time.sleep(0.5)\n" if waits else ""
    return f"import graymw\ngraymw.instrument()\n{wait}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("before", ["", GEVENT], ids=["threads", "gevent"])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
def test_a_silent_registry_keeps_nobody(way: str, before: str, waits: bool, silent: int, tmp_path: Path) -> None:
    end, code = WAYS[way]
    returned, told = ran(before + started(waits=waits) + end, silent, tmp_path)
    assert returned == code, told
    assert not re.search("Fatal|Exception ignored|Traceback|daemon", told), told


def test_the_loop_of_the_watch_is_not_the_applications(silent: int, tmp_path: Path) -> None:
    script = started(waits=True) + "import asyncio\nasyncio.run(asyncio.sleep(0))"
    assert ran(GEVENT + script, silent, tmp_path)[0] == 0
