"""``graymw history``: what was changed, by whom, when and why."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Annotated

import typer

from graymw.cli import terminal
from graymw.cli.changing import StoreOption, opened, run_with
from graymw.cli.options import JsonOption
from graymw.cli.outcome import FINE
from graymw.editing.publishing import change_of
from graymw.runtime.ports import Change


def command(
    revision: Annotated[
        str | None, typer.Argument(metavar="[REVISION]", help="Show the document of this revision.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many changes.")] = 20,
    rules: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show the last changes of the rules, newest first.

    With a revision: the document that it was.
    """
    store = opened(rules)
    if revision is not None:
        change: Change = run_with(store, lambda store: change_of(store, revision))
        if as_json:
            terminal.write_json(dataclasses.asdict(change))
        else:
            terminal.line(change.text.removesuffix("\n"))
        return FINE
    changes: list[Change] = run_with(store, lambda store: store.history(limit))
    if as_json:
        terminal.write_json([dataclasses.asdict(change) for change in changes])
        return FINE
    if not changes:
        terminal.line(f"{store.name}: graymw has not changed these rules yet")
        return FINE
    table = terminal.table("revision", "when", "who", "what", "why")
    for change in changes:
        table.add_row(*map(terminal.text, (change.revision, _when(change.at), change.who, change.what, change.why)))
    terminal.console().print(table)
    return FINE


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(sep=" ", timespec="seconds")
