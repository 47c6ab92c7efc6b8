"""``graymw disable``: releases switched off."""

from __future__ import annotations

from typing import Annotated

import typer

from graymw.cli.changing import DryRunOption, StoreOption, Way, WhoOption, WhyOption, YesOption, change_tree, said
from graymw.cli.options import JsonOption
from graymw.editing.changes import switch


def command(
    releases: Annotated[list[str], typer.Argument(metavar="RELEASE...", help="The releases.")],
    *,
    rules: StoreOption = None,
    why: WhyOption = "",
    who: WhoOption = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Switch releases off: everyone is on stable, reason `disabled`."""
    way = Way(rules, why, who, yes, dry_run, as_json)
    return change_tree(way, said("disable", *releases), lambda tree: switch(tree, releases, on=False))
