"""Real servers that tests run: found, started on loopback, waited for until they are well, ended by their own process.

A test that needs one is skipped where it is not installed, with the reason; with ``GRAYMW_REQUIRE_SERVERS=1`` it fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from serving import Service, serving
from waiting import eventually

LOOPBACK: Final = "127.0.0.1"
REQUIRED: Final = os.environ.get("GRAYMW_REQUIRE_SERVERS") == "1"
"""Read when tests are collected: each test runs without ``GRAYMW_*``."""

_TAIL: Final = 40


def binary(name: str, *, variable: str, package: str) -> str:
    """Path of a server's program: the one that an environment variable names, else the one on the path.

    Args:
        package: Debian's package of it.
    """
    named = os.environ.get(variable) or name
    found = shutil.which(named)
    if found is not None:
        return found
    reason = f"no {named}: run .ci/servers (apt-get install {package}), or name the program by {variable}"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def real_server(
    command: Sequence[str],
    folder: Path,
    port: int,
    is_well: Callable[[], bool],
    environ: Mapping[str, str] | None = None,
    seconds: float = 60,
) -> Iterator[Service]:
    """Run a server until it is well, and end it afterwards; what it said last is shown with any failure meanwhile.

    Args:
        folder: Where its output is kept.
        port: Where it listens.
        is_well: Asks it whether it can be used; an OSError means that it cannot yet.
        environ: Besides what a process needs anyway.
        seconds: How long that may take.
    """
    with serving(command, environ or {}, folder, port, seconds=seconds) as service:
        try:
            eventually(lambda: service.process.poll() is not None or _answers(is_well), seconds)
            assert service.process.poll() is None, f"{command[0]} has ended"
            yield service
        except BaseException as error:
            error.add_note("\n".join([f"{command[0]} said:", *service.output.splitlines()[-_TAIL:]]))
            raise
        if service.process.poll() is None:
            service.terminate()


def _answers(is_well: Callable[[], bool]) -> bool:
    try:
        return is_well()
    except OSError:
        return False
