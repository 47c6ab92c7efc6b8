"""From what a command did to an exit code; errors become one sentence on standard error, never a traceback."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Final

import typer

from graymw.cli import terminal
from graymw.errors import GrayError, RulesError, SettingsError

FINE: Final = 0
PROBLEM: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130


class WrongUseError(GrayError):
    """The command was called in a way that cannot work; the message has the mend."""

    code = "wrong-use"


def exit_code_of(work: Callable[[], object]) -> int:
    """Run a command.

    Args:
        work: Returns its exit code, or anything else for 0.
    """
    _prepare()
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _silence_stdout()
        return FINE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line before the user
        return _told(error)
    return code if isinstance(code, int) else FINE


def _prepare() -> None:
    """Logs of the library belong to applications; a character that the terminal cannot show must not be fatal."""
    logging.getLogger("graymw").addHandler(logging.NullHandler())
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def _silence_stdout() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: Exception) -> int:
    if isinstance(error, (RulesError, SettingsError)):
        for problem in error.problems:
            terminal.complain(terminal.problem_line(problem, error.origin))
        return PROBLEM
    if isinstance(error, GrayError):
        terminal.complain(f"graymw: {error}")
        return WRONG_USE if isinstance(error, WrongUseError) else PROBLEM
    told = getattr(error, "format_message", None)
    if callable(told):  # an error of the option parser
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "graymw"
        terminal.complain(f"{path}: {' '.join(str(told()).split()).rstrip('.')}; see '{path} --help'")
        return int(getattr(error, "exit_code", WRONG_USE))
    if sys.flags.dev_mode:
        raise error
    named = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    terminal.complain(
        f"graymw: this should not have happened ({named}); 'python -X dev -m graymw' shows where, please report it"
    )
    return PROBLEM
