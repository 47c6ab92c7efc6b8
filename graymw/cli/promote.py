"""``graymw promote``: a gray version becomes the stable one."""

from __future__ import annotations

from typing import Annotated

import typer

from graymw.cli.changing import DryRunOption, StoreOption, Way, WhoOption, WhyOption, YesOption, change_tree, said
from graymw.cli.options import JsonOption
from graymw.editing.changes import promote


def command(
    release: Annotated[str, typer.Argument(help="The release.")],
    version: Annotated[
        str, typer.Argument(help="The version; may be left out where the release has one gray version.")
    ] = "",
    *,
    rules: StoreOption = None,
    why: WhyOption = "",
    who: WhoOption = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Make a gray version the stable one, for everyone. What its rules did is no longer needed and is taken out."""
    way = Way(rules, why, who, yes, dry_run, as_json)
    return change_tree(way, said("promote", release, version), lambda tree: promote(tree, release, version))
