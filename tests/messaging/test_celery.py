from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, Task

import graymw
from graymw.messaging.celery import REMEMBERED, Workers, connect
from graymw.runtime.engine import Engine

Process = Callable[..., Engine]


def new_app(**options: Any) -> Celery:
    return Celery("orders", broker="memory://", backend="cache+memory://", set_as_current=False, **options)


def decided() -> str | None:
    return graymw.current().version("checkout")


def one() -> int:
    return 1


def test_a_task_that_is_called_as_a_function_keeps_its_caller_s_decision(process: Process) -> None:
    process()
    app = connect(new_app())
    task = app.task(decided)
    with graymw.use("checkout", "v2"):
        assert task() == "v2"


def test_so_does_an_eager_one(process: Process) -> None:
    process()
    app = connect(new_app())
    app.conf.task_always_eager = True
    task = app.task(decided)
    with graymw.use("checkout", "v2"):
        assert task.delay().get() == "v2"


def test_the_application_s_own_base_keeps_its_part(process: Process) -> None:
    class Base(Task):  # type: ignore[misc]
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "own", self.run(*args, **kwargs)

    app = connect(new_app(task_cls=Base))
    app.conf.task_always_eager = True
    assert app.task(one).delay().get() == ("own", 1)


def test_connecting_after_tasks_are_declared_is_refused_with_the_mend() -> None:
    app = new_app()
    app.task(one)
    app.finalize()
    with pytest.raises(RuntimeError, match="connect it right where it is made"):
        connect(app)


class Control:
    def __init__(self) -> None:
        self.asked = 0
        self.answers: dict[str, Any] | None = None

    def inspect(self, timeout: float) -> Control:
        self.asked += 1
        return self

    def active_queues(self) -> dict[str, Any] | None:
        return self.answers


def test_workers_are_asked_which_queues_they_take_and_believed_for_a_while() -> None:
    app: Any = type("App", (), {"control": Control()})
    now = [0.0]
    workers = Workers(app, clock=lambda: now[0])
    assert not workers.live("celery.v2")
    app.control.answers = {"w@host": [{"name": "celery.v2"}]}
    assert not workers.live("celery.v2")
    now[0] = REMEMBERED
    assert workers.live("celery.v2")
    assert not workers.live("celery.v3")
    assert app.control.asked == 2
