"""One thread with one asyncio loop that does all waiting of a process: for rules, registries, status.

WSGI and ASGI processes watch alike, and no loop of the application is touched. The thread ends before a fork and begins
anew on both sides, so that no lock, socket or selector is shared between the processes, and a worker of a preforking
server (``preload_app`` included) watches for itself.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from graymw.runtime import counters
from graymw.runtime.backoff import Backoff
from graymw.runtime.native_thread import NativeThread, around_patching, native_loop, original
from graymw.runtime.uwsgi_forks import may_start_thread

log = logging.getLogger("graymw.watch")

Job: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

THREAD_NAME: Final = "graymw-watch"
STOP_SECONDS: Final = 1.0
"""How long the end of the process waits for the thread; a job that blocks longer is left behind."""

FORK_SECONDS: Final = 5.0
"""How long a fork waits for it. A library that is just being imported would stay half imported in the new process."""

CHILD_PAUSE: Final = 0.05
"""Seconds that a forked process has to itself first: other libraries mend their locks in fork hooks too."""

HEALTHY_SECONDS: Final = 60.0
"""A job that ran this long before it failed is started again soon rather than after a grown wait."""


@dataclass(eq=False, slots=True)
class Watch:
    """One job in the care of the thread."""

    name: str
    job: Job
    owner: WatchThread
    task: asyncio.Task[None] | None = field(default=None)

    def cancel(self) -> None:
        """End the job; from any thread, also twice."""
        self.owner.forget(self)


@dataclass(eq=False, slots=True)
class _Run:
    """One life of the thread."""

    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event
    thread: NativeThread | None = None


class WatchThread:
    """The thread, its loop and its jobs. A job that fails is started again, after a growing wait."""

    def __init__(self) -> None:
        self._lock = original("threading", "RLock")()
        self._watches: list[Watch] = []
        self._run: _Run | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs now."""
        run = self._run
        return run is not None and run.thread is not None and run.thread.alive

    def run(self, job: Job, *, name: str) -> Watch:
        """Give a job to the thread, which starts where it does not run yet.

        Args:
            job: Makes the coroutine; called again after a failure and after a fork. It must not block.
            name: For the log.
        """
        watch = Watch(name, job, self)
        with self._lock:
            self._watches.append(watch)
            if self._run is None:
                self.start()
            else:
                self._call(self._begin, watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """End one job; the thread itself goes on."""
        with self._lock:
            if watch in self._watches:
                self._watches.remove(watch)
            self._call(_end, watch)

    def start(self, *, pause: float = 0.0) -> None:
        """Start the thread where there are jobs and it does not run.

        Args:
            pause: Seconds before the jobs begin.
        """
        with self._lock:
            if self._run is not None or not self._watches or not may_start_thread(self.begin_anew_in_child):
                return
            around_patching(self.stop, self.start)
            run = _Run(native_loop(), asyncio.Event())
            run.thread = NativeThread(lambda: self._serve(run, pause), THREAD_NAME)
            try:
                run.thread.start()
            except RuntimeError as error:  # no more threads: the process goes on with what it has
                run.loop.close()
                counters.count("watch.failed")
                counters.once(log, "watch:start", logging.ERROR, "nothing is watched: %s", error)
                return
            self._run = run

    def call(self, job: Job, seconds: float) -> bool:
        """Have something done in the loop and wait for it; for the end of the process, whose jobs would be cancelled.

        Args:
            job: Makes the coroutine.
            seconds: How long to wait.

        Returns:
            Whether it was done in time, without an error.
        """
        run = self._run
        if run is None or run.thread is None or run.thread.is_current:
            return False
        over = original("_thread", "allocate_lock")()  # rather than a future, which gevent might make wait for a hub
        over.acquire()
        tasks: list[asyncio.Task[None]] = []

        def begin() -> None:
            tasks.append(run.loop.create_task(job(), context=contextvars.Context()))
            tasks[0].add_done_callback(lambda _: over.release())

        try:
            run.loop.call_soon_threadsafe(begin)
        except RuntimeError:  # it has closed
            return False
        if not over.acquire(timeout=seconds):
            self._call(lambda: [task.cancel() for task in tasks])
            return False
        return not tasks[0].cancelled() and tasks[0].exception() is None

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """End the thread, and keep the jobs for another ``start``.

        Args:
            seconds: How long to wait for it.

        Returns:
            Whether it has ended.
        """
        with self._lock:
            run = self._run
            if run is None or run.thread is None:
                return True
            if run.thread.is_current:  # a job that forks cannot wait for its own end
                return False
            self._call(run.stopping.set)
            self._run = None
        return run.thread.join(seconds)

    def begin_anew_in_child(self) -> None:
        """After a fork: the jobs are here, the parent's thread is not."""
        self._lock = original("threading", "RLock")()
        self._run = None
        for watch in self._watches:
            watch.task = None
        self.start(pause=CHILD_PAUSE)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        """Have something done in the loop, if there is one."""
        if self._run is not None:
            with contextlib.suppress(RuntimeError):  # it has closed in the meantime
                self._run.loop.call_soon_threadsafe(function, *args)

    def _serve(self, run: _Run, pause: float) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: run.loop) as runner:
                runner.run(self._main(run, pause), context=contextvars.Context())
        finally:
            with self._lock:
                if self._run is run:
                    self._run = None

    async def _main(self, run: _Run, pause: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.stopping.wait(), pause)
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            self._begin(watch)
        await run.stopping.wait()

    def _begin(self, watch: Watch) -> None:
        """Start a job in the running loop, once, in a context of its own: a request's would stay in it forever."""
        loop = asyncio.get_running_loop()
        if watch in self._watches and (watch.task is None or watch.task.get_loop() is not loop):
            watch.task = loop.create_task(self._care(watch), name=watch.name, context=contextvars.Context())

    async def _care(self, watch: Watch) -> None:
        """Run a job until it ends of itself; failures are told once each."""
        backoff = Backoff()
        while True:
            began = time.monotonic()
            try:
                await watch.job()
            except BaseException as error:  # a job that asks the process to exit is a failure too
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                if not threading.main_thread().is_alive():  # the interpreter is ending, and gives nothing any more
                    return
                counters.count("watch.failed")
                counters.once(
                    log, f"watch:{watch.name}:{error!r}", logging.WARNING, "watching %s failed: %r", watch.name, error
                )
            else:
                with self._lock, contextlib.suppress(ValueError):
                    self._watches.remove(watch)
                return
            if time.monotonic() - began > HEALTHY_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())


def _end(watch: Watch) -> None:
    if watch.task is not None:
        watch.task.cancel()


watch_thread: Final = WatchThread()
"""The thread of this process."""

os.register_at_fork(
    before=lambda: watch_thread.stop(FORK_SECONDS),
    after_in_parent=watch_thread.start,
    after_in_child=watch_thread.begin_anew_in_child,
)
atexit.register(watch_thread.stop)
