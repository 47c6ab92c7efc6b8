from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Iterator

import pytest

from graymw.runtime.forks import forks


@pytest.fixture
def before() -> Iterator[int]:
    yield forks.workers
    forks.workers = 0


def test_a_plain_fork_may_be_a_workers(before: int) -> None:
    child = os.fork()
    if child == 0:
        os._exit(1 if forks.is_helper else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert forks.workers == before + 1


def _end() -> None:
    os._exit(7 if forks.is_helper else 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_children_of_multiprocessing_are_helpers(before: int) -> None:
    child = multiprocessing.get_context("fork").Process(target=_end)
    child.start()
    child.join()
    assert child.exitcode == 7
    assert forks.workers == before


def test_children_of_subprocess_are_helpers(before: int) -> None:
    subprocess.run(["true"], preexec_fn=lambda: None, check=True)
    assert forks.workers == before
