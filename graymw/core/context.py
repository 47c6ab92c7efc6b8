"""Decisions and the gray context of one request: immutable, made once and shared by all requests alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Reason: TypeAlias = Literal["match", "split", "default", "inherited", "override", "disabled", "error"]

RELEASE_PREFIX: Final = "gray."
REVISION_KEY: Final = "gray-rev"
SIGNATURE_KEY: Final = "gray-sig"


@dataclass(frozen=True, slots=True)
class Decision:
    """For one request and one release: the version, and why.

    Attributes:
        rule: Name of the deciding rule, None where none did.
        revision: Revision of the document it was decided by, None where unknown.
        stable: The release's stable version, None where this process does not know the release.
    """

    release: str
    version: str
    reason: Reason
    rule: str | None = None
    revision: str | None = None
    stable: str | None = None

    @property
    def is_gray(self) -> bool:
        """Whether the version is another than the release's stable one; False where that is unknown."""
        return self.stable is not None and self.version != self.stable


class GrayContext:
    """The decisions of one request.

    Attributes:
        decisions: By release, in the order of the document.
        revision: Of the document that the first hop decided by, None where nothing was decided.
        primary: The release that governs this process's service; what ``version()`` means without a name.
        members: ``(key, value)`` pairs as they travel in W3C baggage, ``gray-rev`` last.
        wire: The same as baggage text, ``gray.checkout=v2,gray-rev=9f3c2a11``; empty where nothing was decided.
        attributes: Span attributes that every span of the request carries (contract, §8).
    """

    __slots__ = ("attributes", "decisions", "members", "primary", "revision", "wire")

    def __init__(
        self, decisions: Iterable[Decision] = (), *, revision: str | None = None, primary: str | None = None
    ) -> None:
        by_release = {decision.release: decision for decision in decisions}
        self.decisions: Mapping[str, Decision] = MappingProxyType(by_release)
        self.revision = revision
        if primary not in by_release:
            primary = next(iter(by_release)) if len(by_release) == 1 else None
        self.primary: str | None = primary
        members = [(RELEASE_PREFIX + name, decision.version) for name, decision in by_release.items()]
        if members and revision:
            members.append((REVISION_KEY, revision))
        self.members: tuple[tuple[str, str], ...] = tuple(members)
        self.wire: str = ",".join(f"{key}={value}" for key, value in members)
        self.attributes: Mapping[str, str | bool] = MappingProxyType(self._attributes())

    def _attributes(self) -> dict[str, str | bool]:
        if not self.decisions:
            return {}
        attributes: dict[str, str | bool] = {
            "gray.active": any(decision.is_gray for decision in self.decisions.values()),
            "gray.context": ",".join(f"{name}={d.version}" for name, d in self.decisions.items()),
        }
        shown = self._decision(None)
        if shown is not None:
            attributes["gray.release"] = shown.release
            attributes["gray.version"] = shown.version
            attributes["gray.active"] = shown.is_gray
        return attributes

    def _decision(self, release: str | None) -> Decision | None:
        name = self.primary if release is None else release
        return None if name is None else self.decisions.get(name)

    def version(self, release: str | None = None) -> str | None:
        """Decided version of a release; of the one governing this service where ``release`` is left out."""
        decision = self._decision(release)
        return None if decision is None else decision.version

    def is_gray(self, release: str | None = None) -> bool:
        """Whether that version is gray. Without a name and without a governing release: whether any is."""
        if release is None and self.primary is None:
            return any(decision.is_gray for decision in self.decisions.values())
        decision = self._decision(release)
        return decision is not None and decision.is_gray

    def __bool__(self) -> bool:
        return bool(self.decisions)

    def __repr__(self) -> str:
        return f"GrayContext({self.wire or 'undecided'})"


UNDECIDED: Final = GrayContext()
