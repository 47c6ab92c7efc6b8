"""uWSGI, which forks its workers without Python's fork hooks, and has threads only where it was told to.

A thread that runs in its master when it forks may leave the workers without the interpreter's lock, for ever.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from typing import Any, Final

from graymw.runtime import counters

log = logging.getLogger("graymw.watch")

NO_THREADS: Final = (
    "uWSGI runs without threads, so nothing is watched and nothing registered: rules and instances stay as they were "
    "at the start; start it with --enable-threads"
)


def may_start_thread(in_worker: Callable[[], object]) -> bool:
    """Whether a thread may be started in this process now; always outside of uWSGI.

    Args:
        in_worker: Called in each worker once it is forked, where the answer was no for that reason.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None or not hasattr(uwsgi, "worker_id"):
        return True
    if not _has_threads(uwsgi):
        counters.count("watch.failed")
        counters.once(log, "watch:uwsgi", logging.ERROR, "%s", NO_THREADS)
        return False
    if uwsgi.worker_id():
        return True
    _after_fork(uwsgi, in_worker)
    return False


def _has_threads(uwsgi: Any) -> bool:
    options = {key.decode() if isinstance(key, bytes) else key for key in uwsgi.opt}
    return bool(options & {"enable-threads", "threads"})


def _after_fork(uwsgi: Any, work: Callable[[], object]) -> None:
    """Do something in each worker, besides what others do there; once, however often it is asked for."""
    try:
        chain = importlib.import_module("uwsgidecorators").postfork_chain  # else it takes our hook's place later on
    except Exception:  # noqa: BLE001 - it comes with uWSGI, but not always, and refuses to work without a master
        before = getattr(uwsgi, "post_fork_hook", None)
        if getattr(before, "__module__", "") != __name__:
            uwsgi.post_fork_hook = _both(before, work)
    else:
        if work not in chain:
            chain.append(work)


def _both(before: Callable[[], object] | None, work: Callable[[], object]) -> Callable[[], None]:
    def hook() -> None:
        if before is not None:
            before()
        work()

    return hook
