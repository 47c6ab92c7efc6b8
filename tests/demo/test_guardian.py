from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

from graymw.demo.guardian import end_groups, signal_group, watched_at_end

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
OBEDIENT = "import time; print('up', flush=True); time.sleep(60)"


def started(code: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_groups_that_are_not_forgotten_are_still_watched() -> None:
    assert watched_at_end(["watch 1\n", "watch 2\n", "forget 1\n", "nonsense\n", "watch x\n"]) == {2}


def test_a_group_that_is_gone_cannot_be_signalled() -> None:
    process = started(OBEDIENT)
    process.kill()
    process.communicate()
    assert not signal_group(process.pid, 0)


def test_who_does_not_obey_is_made_to_end() -> None:
    with started(STUBBORN) as stubborn, started(OBEDIENT) as obedient:
        end_groups([stubborn.pid, obedient.pid], grace=0.2)
        assert stubborn.wait(10) == -9
        assert obedient.wait(10) == -15


def test_processes_end_with_a_demo_that_was_killed() -> None:
    """The demo's own clean-up cannot run after SIGKILL, and its services must not outlive it."""
    demo = started(
        textwrap.dedent(
            f"""
            import os, sys, time
            from pathlib import Path
            from graymw.demo.interruption import Interruption
            from graymw.demo.processes import Processes, Service
            with Interruption() as interruption, Processes(interruption) as processes:
                service = Service("sleeper", "v1", "none", 1, [sys.executable, "-c", {OBEDIENT!r}], os.environ,
                                  Path("/"), Path("/dev/null"))
                processes.start([service])
                print("up", flush=True)
                print(service.pid, flush=True)
                time.sleep(60)
            """
        )
    )
    assert demo.stdout is not None
    group = int(demo.stdout.readline())
    assert signal_group(group, 0)
    demo.kill()
    demo.communicate()
    assert until(lambda: not signal_group(group, 0))
