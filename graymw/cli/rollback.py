"""``graymw rollback``: everyone on stable at once, or an earlier document back."""

from __future__ import annotations

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
    change_tree,
    listed,
    opened,
    run_with,
    said,
)
from graymw.cli.options import JsonOption
from graymw.cli.outcome import WrongUseError
from graymw.editing.changes import switch
from graymw.editing.publishing import change_of


def command(
    releases: Annotated[
        list[str] | None, typer.Argument(metavar="[RELEASE...]", help="Which releases; all where none is named.")
    ] = None,
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="REVISION", help="Bring back the document of this revision.")
    ] = None,
    rules: StoreOption = None,
    why: WhyOption = "",
    who: WhoOption = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Put everyone on stable at once, releases switched off; or bring back an earlier document, as `history` has it."""
    named = listed(releases)
    way = Way(rules, why, who, yes, dry_run, as_json)
    if to is None:
        return change_tree(way, said("rollback", *named), lambda tree: switch(tree, named, on=False))
    if named:
        raise WrongUseError("--to brings a whole document back; leave out the releases")
    earlier = run_with(opened(rules), lambda store: change_of(store, to))
    return change_text(way, said("rollback --to", earlier.revision), lambda _text, _format: earlier.text)
