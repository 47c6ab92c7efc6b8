"""``graymw publish``: a whole document put in force."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from graymw.cli.changing import (
    DryRunOption,
    StoreOption,
    Way,
    WhoOption,
    WhyOption,
    YesOption,
    change_text,
    formatted_as,
    said,
)
from graymw.cli.options import JsonOption
from graymw.cli.outcome import WrongUseError
from graymw.cli.rules_here import STDIN


def command(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The rule document.")],
    *,
    rules: StoreOption = None,
    why: WhyOption = "",
    who: WhoOption = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Put a whole rule document in the place of the one in force."""
    text = _read(file)

    def make(_before: str, format_: str | None) -> str:
        formatted_as(rules or "", format_, file, text)
        return text

    return change_text(Way(rules, why, who, yes, dry_run, as_json), said("publish", file), make)


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return content.decode()
    except UnicodeDecodeError:
        raise WrongUseError(f"{file} is no UTF-8 text") from None
    except OSError as error:
        raise WrongUseError(
            f"{file}: {error.strerror or error}; name a rule document, or - for standard input"
        ) from None
