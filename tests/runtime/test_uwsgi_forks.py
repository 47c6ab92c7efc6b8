from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from graymw.runtime.uwsgi_forks import may_start_thread

Hook = Callable[[], object]


@pytest.fixture
def uwsgi(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What uWSGI gives to the processes that it runs Python in; here its master, with threads."""
    module = SimpleNamespace(worker_id=lambda: 0, opt={"enable-threads": True})
    monkeypatch.setitem(sys.modules, "uwsgi", module)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "uwsgidecorators", None)  # type: ignore[arg-type]
    return module


def test_outside_of_uwsgi_threads_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "uwsgi", raising=False)
    assert may_start_thread(lambda: None)


def test_in_a_worker_threads_start(uwsgi: SimpleNamespace) -> None:
    uwsgi.worker_id = lambda: 1
    assert may_start_thread(lambda: None)
    assert not hasattr(uwsgi, "post_fork_hook")


def test_in_the_master_they_wait_for_the_fork_besides_what_others_do_there(uwsgi: SimpleNamespace) -> None:
    done: list[str] = []
    uwsgi.post_fork_hook = lambda: done.append("theirs")

    def ours() -> None:
        done.append("ours")

    assert not may_start_thread(ours)
    assert not may_start_thread(ours)
    uwsgi.post_fork_hook()
    assert done == ["theirs", "ours"]


def test_in_the_master_the_decorators_chain_is_joined_where_there_is_one(
    uwsgi: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    decorators = ModuleType("uwsgidecorators")
    decorators.postfork_chain = []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgidecorators", decorators)

    def ours() -> None:
        pass

    assert not may_start_thread(ours)
    assert not may_start_thread(ours)
    assert decorators.postfork_chain == [ours]


@pytest.mark.parametrize("options", [{}, {b"master": True}])
def test_without_threads_the_mend_is_told_once(
    uwsgi: SimpleNamespace, options: dict[object, object], caplog: pytest.LogCaptureFixture
) -> None:
    uwsgi.opt = options
    with caplog.at_level(logging.ERROR):
        assert not may_start_thread(lambda: None)
        assert not may_start_thread(lambda: None)
    assert caplog.text.count("start it with --enable-threads") == 1


@pytest.mark.parametrize("options", [{b"threads": b"2"}, {"enable-threads": True}])
def test_threads_are_known_by_either_option(uwsgi: SimpleNamespace, options: dict[object, object]) -> None:
    uwsgi.opt, uwsgi.worker_id = options, lambda: 2
    assert may_start_thread(lambda: None)
