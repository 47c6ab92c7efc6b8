from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from graymw.runtime.native_thread import NativeThread, is_patched, native_loop

SCRIPT = """
import asyncio, threading, time
from graymw.runtime.native_thread import NativeThread, is_patched, native_loop, original

seen = []
def target():
    with asyncio.Runner(loop_factory=native_loop) as runner:
        seen.append(original("_thread", "get_ident")())
        seen.append(runner.run(asyncio.to_thread(lambda: 7)))
        time.sleep(0.2)

assert is_patched()
thread = NativeThread(target, "x")
thread.start()
assert thread.alive and not thread.is_current and not thread.join(0.01)
assert thread.join(10) and not thread.alive
assert seen[0] != original("_thread", "get_ident")() and seen[1] == 7, seen
"""


def test_it_runs_and_ends() -> None:
    begun, going_on = threading.Event(), threading.Event()
    inside: list[bool] = []

    def target() -> None:
        inside.append(thread.is_current)
        begun.set()
        going_on.wait(10)

    thread = NativeThread(target, "graymw-test")
    thread.start()
    assert begun.wait(10)
    assert inside == [True]
    assert thread.alive
    assert not thread.is_current
    assert not thread.join(0.01)
    going_on.set()
    assert thread.join(10)
    assert not thread.alive


def test_nothing_is_patched_here() -> None:
    assert not is_patched()
    loop = native_loop()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    loop.close()


def test_under_gevent_it_is_a_thread_of_the_system_with_a_loop_of_its_own() -> None:
    pytest.importorskip("gevent")
    patching = "from gevent import monkey; monkey.patch_all()\n"
    ran = subprocess.run(
        [sys.executable, "-c", patching + SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
