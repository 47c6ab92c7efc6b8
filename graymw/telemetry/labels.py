"""Attributes of metrics: bounded by releases, versions and services, whatever requests bring along.

A decision that came in may name any release and version. What the rules in force do not know is counted as ``other``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from graymw.core.context import Decision
from graymw.core.model import Release, RuleDocument
from graymw.settings.schema import Settings

OTHER: Final = "other"


class Label(NamedTuple):
    """A decision as metrics show it."""

    release: str
    version: str
    active: bool


def label_of(decision: Decision, document: RuleDocument, settings: Settings) -> Label:
    """Release and version of a decision, each ``other`` where nothing here knows it.

    Args:
        document: The rules in force.
        settings: Know versions as well: this process's own, and those of the instances it was told of.
    """
    release = next((release for release in document.releases if release.name == decision.release), None)
    known = set(_of_settings(settings)) if release is None else set(_of_release(release))
    version = decision.version if decision.version in known else OTHER
    return Label(OTHER if release is None else release.name, version, decision.is_gray)


def _of_release(release: Release) -> Iterator[str]:
    yield release.stable
    for rule in release.rules:
        if rule.use is not None:
            yield rule.use
        for version, _ in rule.split.shares if rule.split is not None else ():
            yield version
    for labels in release.versions.values():
        yield from labels


def _of_settings(settings: Settings) -> Iterator[str]:
    yield settings.version
    if settings.stable_version_set:
        yield settings.stable_version
    for instances in settings.services.values():
        for instance in instances:
            yield instance.version
