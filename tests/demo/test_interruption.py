# ruff: noqa: PT012 - what leaves a context manager is the point here, so the block is more than one call
from __future__ import annotations

import os
import signal
import threading

import pytest

from graymw.demo.interruption import Interrupted, Interruption


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_and_the_shell_can_tell_which(signum: signal.Signals) -> None:
    with pytest.raises(Interrupted) as raised, Interruption():
        os.kill(os.getpid(), signum)
    assert raised.value.exit_code == 128 + signum


def test_a_shielded_step_is_finished_first() -> None:
    finished = []
    with pytest.raises(Interrupted), Interruption() as interruption, interruption.shielded():
        os.kill(os.getpid(), signal.SIGINT)
        finished.append(interruption.pending)
    assert finished == [signal.SIGINT]


def test_only_the_outermost_shield_lets_the_signal_through() -> None:
    with pytest.raises(Interrupted), Interruption() as interruption, interruption.shielded():
        with interruption.shielded():
            os.kill(os.getpid(), signal.SIGINT)
        finished = True
    assert finished


def test_an_error_inside_a_shielded_step_is_not_hidden_by_the_signal() -> None:
    with pytest.raises(LookupError), Interruption() as interruption, interruption.shielded():
        os.kill(os.getpid(), signal.SIGINT)
        raise LookupError


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_nothing_is_changed() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with Interruption():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
