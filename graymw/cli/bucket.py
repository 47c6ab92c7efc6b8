"""``graymw bucket``: the buckets of keys."""

from __future__ import annotations

from typing import Annotated

import typer

from graymw.cli import terminal
from graymw.cli.options import JsonOption
from graymw.cli.outcome import WrongUseError
from graymw.cli.rules_here import examine_rules, release_named
from graymw.core.bucketing import bucket
from graymw.core.model import Release
from graymw.core.shares import ranges, version_of
from graymw.settings.loader import load_settings
from graymw.settings.schema import Settings


def command(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[SEED] KEY...", help="The seed, left out with a release; the keys.")
    ] = None,
    rules: Annotated[
        str | None, typer.Option("--rules", metavar="FILE", help="Take the seed of a release in this rule document.")
    ] = None,
    release: Annotated[
        str | None, typer.Option("--release", help="Which release; default rules: those of this environment.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Show the buckets of keys, 0 to 9999, and which version a split gives them.

    With --rules or --release the seed is the release's, and all words are keys.
    """
    given = list(words or ())
    if rules is None and release is None:
        return _plain(given, as_json=as_json)
    if not given:
        raise WrongUseError("there is no key; write graymw bucket --release RELEASE KEY...")
    examined = examine_rules(rules, load_settings() if rules is None else Settings())
    _of_release(release_named(examined.document(), release, examined.origin), given, as_json=as_json)
    return 0


def _plain(words: list[str], *, as_json: bool) -> int:
    if len(words) < 2:
        raise WrongUseError("a seed and a key are needed; write graymw bucket SEED KEY...")
    seed, *keys = words
    numbers = {key: bucket(seed, key) for key in keys}
    if as_json:
        terminal.write_json({"seed": seed, "buckets": numbers})
    else:
        for key, number in numbers.items():
            terminal.line(f"{number:4} {key}")
    return 0


def _of_release(release: Release, keys: list[str], *, as_json: bool) -> None:
    """Buckets, and for each rule that splits the version it would give."""
    splits = {rule.name: ranges(rule.split, release.stable) for rule in release.rules if rule.split is not None}
    found = {}
    for key in keys:
        number = bucket(release.seed, key)
        found[key] = (number, {rule: version_of(parts, number) for rule, parts in splits.items()})
    if as_json:
        terminal.write_json(
            {
                "release": release.name,
                "seed": release.seed,
                "buckets": {key: number for key, (number, _) in found.items()},
                "versions": {key: versions for key, (_, versions) in found.items()},
            }
        )
        return
    table = terminal.table("key", "bucket", *(f"rule {rule}" for rule in splits))
    table.columns[1].justify = "right"
    for key, (number, versions) in found.items():
        table.add_row(*map(terminal.text, (key, number, *versions.values())))
    console = terminal.console()
    console.print(terminal.text(f"release {release.name}, seed {release.seed}"))
    console.print(table)
