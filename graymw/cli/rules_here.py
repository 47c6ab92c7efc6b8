"""The rules that a command works with: a file, standard input, or what this environment says."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from graymw.cli.outcome import WrongUseError
from graymw.core.document import Examination, examine, format_of
from graymw.core.model import Release, RuleDocument
from graymw.core.ruleset import RuleSet, compile_rules
from graymw.errors import RulesError, SourceError
from graymw.runtime.ports import Fetched, LocalRuleSource, RuleSource
from graymw.settings.loader import load_settings
from graymw.settings.schema import Settings
from graymw.sources import source_for

STDIN = "-"
NO_RULES = "no rules here: name a rule document, or set GRAYMW_RULES, GRAYMW_GRAY_RATIO or GRAYMW_GRAY_WHEN"


@dataclass(frozen=True, slots=True)
class Examined:
    """A rule document that was looked at.

    Attributes:
        origin: Where it came from, as the user named it or without credentials.
    """

    origin: str
    examination: Examination

    def document(self) -> RuleDocument:
        """The document.

        Raises:
            RulesError: It has errors.
        """
        if self.examination.document is None:
            errors = (problem for problem in self.examination.problems if problem.severity == "error")
            raise RulesError(errors, origin=self.origin)
        return self.examination.document


@dataclass(frozen=True, slots=True)
class RulesHere:
    """Rules that are ready to decide, where they came from, and the settings of this environment."""

    rules: RuleSet
    origin: str
    settings: Settings


def examine_rules(rules: str | None, settings: Settings) -> Examined:
    """Read and examine a rule document.

    Args:
        rules: Path, URL or ``-``; None: as the settings say.

    Raises:
        WrongUseError: There are no rules, or no such file.
        SourceError: They cannot be read now.
        SettingsError: The settings name a source that there is not.
        RulesError: The short form's settings make no document.
    """
    if rules == STDIN:
        return Examined("stdin", examine(sys.stdin.buffer.read()))
    source = source_for(settings if rules is None else replace(settings, rules=rules))
    if source is None:
        raise WrongUseError(NO_RULES)
    fetched = fetch(source)
    if fetched.text is None:
        if rules is not None:
            raise WrongUseError(f"there is no rule document {rules}; name one that exists, or - for standard input")
        raise SourceError(fetched.absence)
    shown = rules if rules is not None and isinstance(source, LocalRuleSource) else fetched.origin
    return Examined(shown, examine(fetched.text, format=fetched.format or format_of(fetched.origin)))


def compiled_rules(rules: str | None, *, service: str | None, clock: Callable[[], float]) -> RulesHere:
    """Rules of a file or of this environment, ready to decide; the settings are this environment's.

    Args:
        rules: As in ``examine_rules``.
        service: The service that decides; None: as the settings say.
        clock: Seconds since the Unix epoch.

    Raises:
        RulesError: The document was refused.
        SettingsError: The settings were refused.
        SourceError, WrongUseError: As in ``examine_rules``.
    """
    settings = load_settings()
    if service is not None:
        settings = replace(settings, service=service)
    examined = examine_rules(rules, settings)
    compiled = compile_rules(
        examined.document(), service=settings.service, clock=clock, entropy=lambda: secrets.token_urlsafe(16)
    )
    return RulesHere(compiled, examined.origin, settings)


def fetch(source: RuleSource) -> Fetched:
    """The document of a source as it is now."""
    return source.read_now() if isinstance(source, LocalRuleSource) else asyncio.run(source.load())


def release_named(document: RuleDocument, name: str | None, origin: str) -> Release:
    """One release of a document; the only one where no name is given.

    Raises:
        WrongUseError: There is no such release, or several to choose from.
    """
    known = ", ".join(release.name for release in document.releases) or "none"
    if name is None and len(document.releases) == 1:
        return document.releases[0]
    if name is None:
        raise WrongUseError(f"{origin} has not one release: choose with --release, of {known}")
    for release in document.releases:
        if release.name == name:
            return release
    raise WrongUseError(f"{origin} has no release {name!r}: name one of {known}")
