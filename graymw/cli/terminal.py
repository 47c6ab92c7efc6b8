"""What commands write: people read tables, machines JSON or one line each, and errors go to standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from graymw.errors import Problem

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_CONTROLS: Final = dict.fromkeys({*range(32), *range(127, 160)} - {ord("\t"), ord("\n")}, "\N{REPLACEMENT CHARACTER}")


def console(*, stderr: bool = False) -> Console:
    """Console that follows the terminal, ``NO_COLOR`` and ``COLUMNS``; 80 columns without a terminal."""
    from rich.console import Console  # noqa: PLC0415 - errors and JSON do without

    return Console(stderr=stderr, highlight=False)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the one style of all commands. Long values are folded, never cut."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415

    made = Table(box=SIMPLE_HEAD, header_style="dim", show_edge=False, title=title, title_justify="left")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def text(value: object) -> Text:
    """A value as it is: no markup in it counts."""
    from rich.text import Text  # noqa: PLC0415 - as above

    return Text(harmless(str(value)))


def harmless(text: str) -> str:
    """A text of a registry or a config centre without what would command the terminal."""
    return text.translate(_CONTROLS)


def line(text: str) -> None:
    """Write one line as it is: not wrapped, not coloured."""
    sys.stdout.write(f"{harmless(text)}\n")


def complain(text: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(f"{harmless(text)}\n")


def write_json(value: object) -> None:
    """Write a JSON document, in ASCII so that every pipe takes it."""
    line(json.dumps(value, indent=2))


def write_json_line(value: object) -> None:
    """Write a JSON document on one line, at once: somebody reads along."""
    line(json.dumps(value))
    sys.stdout.flush()


def problem_line(problem: Problem, origin: str = "") -> str:
    """``FILE:LINE: PATH: message; mend`` of one problem: compilers' form, which editors understand.

    Args:
        origin: The document; empty for settings, whose path says all.
    """
    place, path = (origin, problem.path or "document") if origin else (problem.path, "")
    if problem.line is not None:
        place = f"{place}:{problem.line}"
    severity = "" if problem.severity == "error" else problem.severity
    told = f"{problem.message}; {problem.mend}" if problem.mend else problem.message
    return ": ".join(" ".join(part.split()) for part in (place, severity, path, told) if part)


def problem_json(problem: Problem, origin: str) -> dict[str, Any]:
    """A problem with stable keys."""
    return {
        "origin": origin,
        "line": problem.line,
        "path": problem.path,
        "message": problem.message,
        "mend": problem.mend,
        "severity": problem.severity,
    }
