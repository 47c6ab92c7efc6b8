"""``graymw check``: every problem of a rule document, or of this environment, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from graymw.cli import terminal
from graymw.cli.options import JsonOption
from graymw.cli.outcome import FINE, PROBLEM
from graymw.cli.rules_here import Examined, examine_rules
from graymw.core.document import SCHEMA_PATH
from graymw.core.document.scalars import percentage
from graymw.core.model import SHARE_SCALE, Release, RuleDocument
from graymw.errors import Problem, RulesError, SettingsError, SourceError
from graymw.registries.choosing import registrar_for, registry_for
from graymw.settings.loader import load_settings
from graymw.settings.schema import Settings

Found = list[tuple[str, Problem]]


def command(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE|-]...", help="Rule documents; default: the settings and rules of this environment."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings count as errors.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Write the JSON Schema of rule documents instead.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Find everything that is wrong with a rule document, or with this environment.

    Each problem is a line FILE:LINE: PATH: what is wrong; how to mend it. Exit code 1 where there is an error.
    """
    if schema:
        terminal.line(SCHEMA_PATH.read_text(encoding="utf-8").removesuffix("\n"))
        return FINE
    named: list[str | None] = [*(files or ())] or [None]
    told = [_checked(file, strict=strict, as_json=as_json) for file in named]
    if as_json:
        terminal.write_json(told[0] if len(told) == 1 else told)
    return FINE if all(each["ok"] for each in told) else PROBLEM


def _checked(file: str | None, *, strict: bool, as_json: bool) -> dict[str, object]:
    """Examine one document, and tell a person about it."""
    found: Found = []
    examined = _examine(file, found)
    document = examined.examination.document if examined is not None else None
    counting = [problem for _, problem in found if strict or problem.severity == "error"]
    if not as_json:
        for origin, problem in found:
            terminal.line(terminal.problem_line(problem, origin))
        if examined is not None and document is not None:
            _summary(examined, document, found)
    return _as_json(examined, document, found, ok=not counting)


def _examine(file: str | None, found: Found) -> Examined | None:
    """The rules, as far as one gets to them; notes every problem on the way."""
    try:
        settings = load_settings() if file is None else Settings()
        found += [("", warning) for warning in settings.warnings]
        if file is None:
            registry_for(settings)
            registrar_for(settings)
        examined = examine_rules(file, settings)
    except (SettingsError, RulesError) as error:
        found += [("", problem) for problem in error.problems]
        return None
    except SourceError as error:
        found.append(("", Problem(file or "GRAYMW_RULES", str(error), "")))
        return None
    found += [(examined.origin, problem) for problem in examined.examination.problems]
    return examined


def _summary(examined: Examined, document: RuleDocument, found: Found) -> None:
    console = terminal.console()
    if document.releases:
        table = terminal.table("release", "services", "stable", "rules", "shares")
        for release in document.releases:
            services = "all others" if release.services is None else ", ".join(release.services)
            name = release.name if release.enabled else f"{release.name} (disabled)"
            rules = ", ".join(rule.name for rule in release.rules) or "none"
            table.add_row(*map(terminal.text, (name, services, release.stable, rules, ", ".join(shares(release)))))
        console.print(table)
    told = f"{examined.origin}: {counted(len(document.releases), 'release')}, revision {document.revision}"
    warnings = f", {counted(len(found), 'warning')}" if found else ", no problems"
    console.print(terminal.text(told + warnings), soft_wrap=True)


def counted(number: int, noun: str) -> str:
    """``1 release``, ``2 releases``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shares(release: Release) -> list[str]:
    """Shares of a release's splits, ``v2 10%``; after the rule's name where several rules split."""
    splits = [rule for rule in release.rules if rule.split is not None]
    return [
        f"{f'{rule.name}: ' if len(splits) > 1 else ''}{version} {percentage(share)}"
        for rule in splits
        if rule.split is not None
        for version, share in rule.split.shares
    ]


def _as_json(examined: Examined | None, document: RuleDocument | None, found: Found, *, ok: bool) -> dict[str, object]:
    releases: Sequence[Release] = document.releases if document is not None else ()
    return {
        "ok": ok,
        "origin": examined.origin if examined is not None else None,
        "revision": document.revision if document is not None else None,
        "releases": {
            release.name: {
                "services": None if release.services is None else list(release.services),
                "stable": release.stable,
                "enabled": release.enabled,
                "rules": [rule.name for rule in release.rules],
                "shares": {
                    rule.name: {version: share * 100 / SHARE_SCALE for version, share in rule.split.shares}
                    for rule in release.rules
                    if rule.split is not None
                },
            }
            for release in releases
        },
        "problems": [terminal.problem_json(problem, origin) for origin, problem in found],
    }
