"""The rule document as frozen values: what parsing produces and compiling, explaining and exporting read.

Shares are integers out of ``SHARE_SCALE`` (0.01 % steps); times are seconds since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

SHARE_SCALE: Final = 10_000
MAX_RELEASES: Final = 32
"""Releases that may be enabled."""

MAX_CARRIED: Final = 62
"""Releases, switched off or not, whose decisions travel: W3C baggage has 64 members, two are revision and signature."""


FactKind: TypeAlias = Literal[
    "header", "cookie", "query", "method", "path", "host", "user", "region", "device", "ip", "time"
]
Fallback: TypeAlias = Literal["stable", "any", "refuse"]
Operator: TypeAlias = Literal[
    "exact", "in", "prefix", "suffix", "contains", "regex", "exists",
    "gt", "ge", "lt", "le", "mod", "semver", "cidr",
]  # fmt: skip
Operand: TypeAlias = str | bool | int | float | tuple[str, ...] | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing a request tells: ``Fact("header", "x-user-id")``, ``Fact("user")``. ``time`` is the clock."""

    kind: FactKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Test:
    """``fact operator operand``; false where the fact is absent (except ``exists: false``).

    Operands by operator: ``exact prefix suffix contains regex semver`` str; ``in cidr`` tuple of str;
    ``exists`` bool; ``gt ge lt le`` number; ``mod`` (divisor, remainder).
    """

    fact: Fact
    operator: Operator
    operand: Operand


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one holds; with none it holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Expression:
    """A CEL expression; a failing one does not match."""

    source: str


Condition: TypeAlias = Test | AllOf | AnyOf | Not | Expression


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of the bucket space by version, drawn from 0 upward in the written order."""

    shares: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where its condition holds (None: always), exactly one of ``use`` and ``split`` decides."""

    name: str
    condition: Condition | None = None
    use: str | None = None
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class StickyKey:
    """Where the bucket key comes from. ``Fact("cookie", "gray_id")`` with ``issue`` is plain ``cookie``."""

    fact: Fact
    issue: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """One gray rollout.

    Attributes:
        services: Logical names it governs; None means every service that no other release names.
        min_instances: Fit instances that a gray version of a service needs before it takes its share.
        versions: By service, release version to instance label, only where they differ.
    """

    name: str
    stable: str
    services: tuple[str, ...] | None = None
    fallback: Fallback = "stable"
    sticky: tuple[StickyKey, ...] = ()
    seed: str = ""
    enabled: bool = True
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[Rule, ...] = ()
    min_instances: int = 1

    def label(self, service: str, version: str) -> str:
        """Label that instances of ``service`` carry for a version of this release."""
        return self.versions.get(service, {}).get(version, version)


@dataclass(frozen=True, slots=True)
class RuleDocument:
    """All releases, in the written order, and the revision of the whole document."""

    releases: tuple[Release, ...] = ()
    schema: int = 1
    revision: str = ""

    def names(self, service: str) -> bool:
        """Whether a release names ``service``."""
        return any(service in release.services for release in self.releases if release.services is not None)

    def governing(self, service: str) -> Release | None:
        """Release that governs ``service``: the one that names it, else the one that names none."""
        rest: Release | None = None
        for release in self.releases:
            if release.services is None:
                rest = release
            elif service in release.services:
                return release
        return rest
