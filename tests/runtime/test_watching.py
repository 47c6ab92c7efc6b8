from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from waiting import eventually

from graymw.runtime import counters, watching
from graymw.runtime.watching import THREAD_NAME, WatchThread


@pytest.fixture
def thread() -> Iterator[WatchThread]:
    thread = WatchThread()
    yield thread
    assert thread.stop(5.0)


def forever(begun: list[str], ended: list[str] | None = None, name: str = "x") -> Callable[[], object]:
    async def job() -> None:
        begun.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            if ended is not None:
                ended.append(name)

    return job


def run_python(script: str, *, seconds: float = 20.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=seconds, check=False
    )


def test_nothing_runs_before_there_is_a_job(thread: WatchThread) -> None:
    thread.start()
    assert not thread.alive


def test_jobs_share_one_daemon_thread(thread: WatchThread) -> None:
    seen: list[threading.Thread] = []

    async def job() -> None:
        seen.append(threading.current_thread())
        await asyncio.Event().wait()

    thread.run(job, name="a")
    thread.run(job, name="b")
    eventually(lambda: len(seen) == 2)
    assert seen[0] is seen[1]
    assert seen[0].daemon
    assert seen[0].name == THREAD_NAME


def test_a_cancelled_job_ends_and_the_others_go_on(thread: WatchThread) -> None:
    begun: list[str] = []
    ended: list[str] = []
    first = thread.run(forever(begun, ended, "first"), name="first")
    thread.run(forever(begun, ended, "second"), name="second")
    eventually(lambda: len(begun) == 2)
    first.cancel()
    first.cancel()
    eventually(lambda: ended == ["first"])
    assert thread.alive


def test_a_job_that_ends_is_not_run_again(thread: WatchThread) -> None:
    runs: list[int] = []

    async def job() -> None:
        runs.append(1)

    thread.run(job, name="a")
    eventually(lambda: runs)
    assert thread.stop(5.0)
    thread.start()
    assert not thread.alive
    assert len(runs) == 1


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_job_that_fails_is_told_once_and_begun_again(
    thread: WatchThread, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    runs: list[int] = []

    async def job() -> None:
        runs.append(1)
        raise error

    thread.run(job, name="rules")
    eventually(lambda: len(runs) == 3)
    assert counters.snapshot()["watch.failed"] >= 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "rules" in caplog.text
    assert thread.alive


def test_jobs_run_again_after_stop_and_start(thread: WatchThread) -> None:
    begun: list[str] = []
    ended: list[str] = []
    thread.run(forever(begun, ended), name="a")
    eventually(lambda: begun)
    assert thread.stop(5.0)
    assert ended == ["x"]
    assert not thread.alive
    thread.start()
    eventually(lambda: len(begun) == 2)


def test_a_job_does_not_see_the_context_of_who_started_it(thread: WatchThread) -> None:
    variable = contextvars.ContextVar("request", default="none")
    seen: list[str] = []

    async def job() -> None:
        seen.append(variable.get())
        await asyncio.Event().wait()

    variable.set("a request's")
    thread.run(job, name="starts the thread")
    thread.run(job, name="finds it running")
    eventually(lambda: len(seen) == 2)
    assert seen == ["none", "none"]


def test_many_threads_may_start_and_cancel_jobs(thread: WatchThread) -> None:
    begun: list[str] = []
    ended: list[str] = []

    def work() -> None:
        for _ in range(20):
            thread.run(forever(begun, ended), name="a").cancel()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    eventually(lambda: len(begun) == len(ended))
    assert thread.stop(5.0)
    assert len(begun) == len(ended)


def test_a_process_that_may_have_no_more_threads_goes_on(
    thread: WatchThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        watch = thread.run(forever([]), name="a")
    assert not thread.alive
    assert "nothing is watched" in caplog.text
    watch.cancel()


def test_the_process_exits_with_jobs_running_and_ends_them() -> None:
    ran = run_python(
        """
import asyncio, threading
from graymw.runtime.watching import watch_thread
begun = threading.Event()
async def job():
    begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        print("ended")
watch_thread.run(job, name="a")
assert begun.wait(5)
"""
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "ended\n", "")


def test_a_job_that_blocks_does_not_keep_the_process() -> None:
    ran = run_python(
        """
import threading, time
from graymw.runtime.watching import watch_thread
begun = threading.Event()
async def job():
    begun.set()
    time.sleep(600)
watch_thread.run(job, name="a")
assert begun.wait(5)
"""
    )
    assert ran.returncode == 0, ran.stderr


FORKING = """
import asyncio, os, sys, threading, time
from graymw.runtime.watching import watch_thread

def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)

begun = []
async def job():
    begun.append(os.getpid())
    await asyncio.Event().wait()

watch_thread.run(job, name="a")
eventually(lambda: begun)
"""


def test_a_forked_process_watches_for_itself_and_so_does_its_parent() -> None:
    """As in gunicorn with ``preload_app``: everything is set up in the master."""
    ran = run_python(
        FORKING
        + """
for generation in range(3):
    before = len(begun)
    child = os.fork()
    eventually(lambda: len(begun) == before + 1 and begun[-1] == os.getpid())
    assert [thread.name for thread in threading.enumerate()] == ["MainThread", "graymw-watch"]
    if child == 0:
        if generation < 2:
            continue
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_fork_shares_no_thread_and_no_descriptor() -> None:
    """The thread ends before: neither its loop's selector nor a socket of a job is in both processes."""
    ran = run_python(
        FORKING
        + """
def selectors():
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.append("eventpoll" in os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # the listing's own
            pass
    return sum(found)

child = os.fork()
if child == 0:
    eventually(lambda: begun[-1] == os.getpid())
    os._exit(selectors())
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
assert selectors() == 1
"""
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_job_added_in_a_child_runs_there_only() -> None:
    ran = run_python(
        FORKING
        + """
child = os.fork()
if child == 0:
    begun.clear()
    watch_thread.run(job, name="b")
    eventually(lambda: len(begun) == 2)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert len(begun) <= 2
"""
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_fork_waits_for_what_is_being_imported() -> None:
    """Half a module would stay half a module in the new process: nobody goes on importing it there."""
    ran = run_python(
        FORKING
        + """
import sys, tempfile, pathlib
folder = pathlib.Path(tempfile.mkdtemp())
(folder / "slow.py").write_text("import time\\nfirst = True\\ntime.sleep(1.5)\\nwhole = True\\n")
sys.path.insert(0, str(folder))
async def importing():
    import slow
    await asyncio.Event().wait()
watch_thread.run(importing, name="b")
eventually(lambda: hasattr(sys.modules.get("slow"), "first"))
child = os.fork()
if child == 0:
    os._exit(0 if hasattr(sys.modules["slow"], "whole") else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_process_may_fork_within_a_job() -> None:
    ran = run_python(
        FORKING
        + """
forked = []
async def forking():
    child = os.fork()
    if child == 0:
        os._exit(0)
    forked.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
watch_thread.run(forking, name="b")
eventually(lambda: forked == [0])
assert watch_thread.alive
assert len(begun) == 1
"""
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_an_interrupt_still_reaches_the_main_thread() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING + "print('ready', flush=True)\ntime.sleep(60)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert process.returncode == -signal.SIGINT


def test_the_thread_of_this_process_survives_a_fork_here() -> None:
    begun: list[str] = []
    watch = watching.watch_thread.run(forever(begun), name="a")
    eventually(lambda: begun)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    eventually(lambda: len(begun) == 2)
    watch.cancel()
