"""Celery: tasks are sent with the decision, run under it, and run by workers of its version.

>>> app = connect(Celery("orders", broker=...))

before the first task is declared. The stable version's workers take the queue itself (``-Q celery``), those of another
take its own (``-Q celery.v2``). Works with OpenTelemetry's instrumentation for Celery and without.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from graymw.errors import MissingExtraError
from graymw.messaging.gate import elsewhere, own_queue
from graymw.messaging.headers import OURS, consuming, inject
from graymw.runtime import counters, tracing

try:
    from celery import Celery, Task
    from celery.exceptions import Ignore
    from celery.signals import before_task_publish
    from celery.utils.imports import symbol_by_name
except ImportError as error:
    raise MissingExtraError("celery", "celery") from error

log = logging.getLogger("graymw.messaging")

App = TypeVar("App", bound=Celery)

ANSWER_WITHIN: Final = 1.0
"""Seconds that workers have to say which queues they take."""

REMEMBERED: Final = 5.0
"""Seconds for which their answer is believed."""


def connect(app: App) -> App:
    """Make an application's tasks carry the decision and obey it; the same application.

    Every task that this process sends, by whichever application, carries the decision. Those that ``app`` declares
    from now on also run under it, unless they name a ``base`` of their own: that one inherits from ``app.Task`` then.

    Raises:
        RuntimeError: Tasks were declared already.
    """
    if "Task" in vars(app):
        raise RuntimeError("this Celery application has tasks already; connect it right where it is made")
    before_task_publish.connect(_sending, weak=False, dispatch_uid="graymw")
    workers = Workers(app)
    base = symbol_by_name(app.task_cls)
    app.task_cls = type("GrayTask", (GrayTask, base), {"abstract": True, "gray_workers": workers})
    return app


def _sending(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        inject(headers)


class Workers:
    """Which queues the application's workers take from, as they say themselves.

    A worker that answers nobody while it works (the ``solo`` pool) counts as gone meanwhile.

    Args:
        clock: Seconds, for how long an answer is believed.
    """

    def __init__(self, app: Celery, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: frozenset[str] = frozenset()
        self._until = float("-inf")

    def live(self, queue: str) -> bool:
        """Whether any worker takes from a queue."""
        with self._lock:
            if self._clock() >= self._until:
                answers = self._app.control.inspect(timeout=ANSWER_WITHIN).active_queues() or {}
                self._queues = frozenset(taken["name"] for queues in answers.values() for taken in queues)
                self._until = self._clock() + REMEMBERED
            return queue in self._queues


class GrayTask(Task):  # type: ignore[misc]
    """Base of tasks that run under the decision they were sent with, in a worker of its version."""

    abstract = True
    gray_workers: Workers

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task: under its message's decision in a worker, in the caller's context elsewhere."""
        request = self.request
        if request.called_directly:
            return super().__call__(*args, **kwargs)
        if request.is_eager:  # a call in its caller's place and context
            return self._work(*args, **kwargs)
        headers = {name: getattr(request, name, None) for name in OURS | tracing.propagation().fields}
        with consuming(headers):
            self._hand_over(headers, request)
            return self._work(*args, **kwargs)

    def _work(self, *args: Any, **kwargs: Any) -> Any:
        """What the application wrote: ``__call__`` of its own base, or ``run``.

        Celery's own ``__call__`` is for calls outside workers: it would put a request without id and retries on top.
        """
        inner = super().__call__
        return self.run(*args, **kwargs) if inner.__func__ is Task.__call__ else inner(*args, **kwargs)

    def _hand_over(self, headers: dict[str, Any], request: Any) -> None:
        """Send the task on as it came, where it is for another version.

        Raises:
            Ignore: It was sent on; the worker there tells its outcome.
        """
        queue = (request.delivery_info or {}).get("routing_key")
        if not queue:
            return
        target = elsewhere(headers, queue.removesuffix(own_queue("")), self.gray_workers)
        if target is None:
            return
        options = {}
        if target == queue:
            counters.once(log, f"shared:{queue}", logging.WARNING, _SHARED, queue, own_queue(queue))
            options["countdown"] = AGAIN_AFTER
        self.signature_from_request(request, queue=target, **options).apply_async()
        raise Ignore


AGAIN_AFTER: Final = 1
"""Seconds after which a task is offered again that this worker may not run and found where it belongs."""

_SHARED: Final = "this worker is not of the stable version but takes from the stable queue %s; start it with -Q %s"
