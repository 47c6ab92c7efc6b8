"""What tests of commands share."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

RULES = """\
schema: 1
releases:
  checkout:
    services: [orders, payments]
    stable: v1
    rules:
      - name: testers
        match: {header: {x-gray-version: "true"}}
        use: v2
      - name: even-uids
        when: uid % 10 == 0
        use: v2
      - name: mobile-eu
        match: {region: [eu, uk], device: mobile}
        use: v2
      - name: canary
        split: {v2: 10%, v3: 0.25%}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Call = Callable[..., Outcome]


def in_a_terminal(*arguments: str, both: bool = False, **environ: str) -> tuple[int, bytes, str]:
    """Runs a command in a process whose standard error, and output where ``both``, is a terminal of 80 columns.

    Returns:
        Exit code, standard output where it is no terminal, and what the terminal was shown.
    """
    ours, theirs = pty.openpty()
    known = {"TERM": "xterm-256color", "COLUMNS": "80", **environ}
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "graymw", *arguments],
            stdout=theirs if both else subprocess.PIPE,
            stderr=theirs,
            env={**{name: value for name, value in os.environ.items() if name != "NO_COLOR"}, **known},
        ) as process:
            os.close(theirs)
            shown = b"".join(iter(lambda: _read(ours), b""))
            out, _ = process.communicate(timeout=60)
        return process.returncode, out or b"", shown.decode()
    finally:
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux: nobody holds the other side any more
        return b""
