"""``graymw set``: shares of a release's versions."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from graymw.cli.changing import (
    DryRunOption,
    StoreOption,
    Way,
    WhoOption,
    WhyOption,
    YesOption,
    change_tree,
    said,
)
from graymw.cli.options import JsonOption
from graymw.cli.outcome import WrongUseError
from graymw.editing.changes import set_shares

_SHARE: Final = re.compile(r"(?P<version>[^=\s]+)=(?P<number>\d+(?:\.\d+)?)\s*%")


def command(
    release: Annotated[str, typer.Argument(help="The release.")],
    *,
    share: Annotated[
        list[str], typer.Option("--share", metavar="VERSION=PERCENT", help="A version's share: v2=10%; again for more.")
    ],
    rule: Annotated[str, typer.Option("--rule", help="The rule whose split is meant, where there are several.")] = "",
    rules: StoreOption = None,
    why: WhyOption = "",
    who: WhoOption = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Give versions of a release their shares.

    A release without a split gets one behind its other rules; a version that has no share yet comes last, so that
    nobody else moves.
    """
    shares = dict(map(_share, share))
    what = said("set", release, *(f"--share {version}={percent}" for version, percent in shares.items()))
    way = Way(rules, why, who, yes, dry_run, as_json)
    return change_tree(
        way, said(what, rule and f"--rule {rule}"), lambda tree: set_shares(tree, release, shares, rule=rule)
    )


def _share(written: str) -> tuple[str, str]:
    match = _SHARE.fullmatch(written.strip())
    if match is None:
        raise WrongUseError(f"{written!r} is no share; write VERSION=PERCENT, such as v2=10%")
    return match["version"], f"{match['number']}%"
