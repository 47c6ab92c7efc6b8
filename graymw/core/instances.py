"""Instances of a service, and which of them may take a call of a decided version (contract, §6).

Tables are built once, when a registry reports; a request only looks up. Which of the candidates takes the call
(health, zone, turn) is a ``Picker``'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import gcd
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from graymw.core.model import Fallback

MAX_TURNS: Final = 1_000
"""Weights whose turns would be more than this are scaled down to it, none below one turn."""

UsedFallback: TypeAlias = Literal["stable", "any", "refuse"]

_NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Instance:
    """Where one copy of a service listens.

    Attributes:
        host: Name or address; an IPv6 address without brackets.
        version: Label; empty where the registry tells none, which counts as stable.
        weight: Share of the traffic relative to its siblings; 0 or less takes none.
        zone: Where it runs; empty where unknown.
        tls: Whether it is spoken to over TLS.
        gray: Whether its owner marked it as one that takes no traffic but that of a decision for its version.
        authority: ``host:port`` as URLs and ``Host`` headers write it (RFC 3986, §3.2).
    """

    service: str
    host: str
    port: int
    version: str
    weight: int = 1
    zone: str = ""
    tls: bool = False
    gray: bool = False
    metadata: Mapping[str, str] = field(default_factory=lambda: _NO_METADATA, hash=False)
    authority: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        object.__setattr__(self, "authority", f"{host}:{self.port}")


class Candidates:
    """Instances that may take a call. Compared by identity and weakly referable, so that a picker can keep its place.

    Attributes:
        instances: Each once, in the order the registry gave; weight above 0.
        turns: Each as often as its weight asks, the turns of one spread evenly among those of the others.
    """

    __slots__ = ("__weakref__", "instances", "turns")

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.instances: tuple[Instance, ...] = tuple(instance for instance in instances if instance.weight > 0)
        self.turns: tuple[Instance, ...] = _interleaved(self.instances)

    def __bool__(self) -> bool:
        return bool(self.instances)

    def __len__(self) -> int:
        return len(self.instances)

    def __repr__(self) -> str:
        return f"Candidates({', '.join(instance.authority for instance in self.instances)})"


def _interleaved(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
    weights = _reduced([instance.weight for instance in instances])
    turns = [
        ((turn + 0.5) / weight, place, instance)
        for place, (instance, weight) in enumerate(zip(instances, weights, strict=True))
        for turn in range(weight)
    ]
    turns.sort(key=lambda entry: entry[:2])
    return tuple(instance for _, _, instance in turns)


def _reduced(weights: list[int]) -> list[int]:
    divisor, total = gcd(*weights), sum(weights)
    if total > MAX_TURNS * divisor:
        spare = max(MAX_TURNS - len(weights), 0)
        weights = [1 + weight * spare // total for weight in weights]
        divisor = gcd(*weights)
    return [weight // divisor for weight in weights]


NOBODY: Final = Candidates()


class InstanceTable:
    """Candidates of one service, ready for every question a request can ask. Immutable.

    Attributes:
        instances: All, those of weight 0 included.
        everyone: All that take traffic.
        versions: By label, those that carry it.
    """

    __slots__ = ("_stable", "_unlabelled", "everyone", "instances", "versions")

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.instances: tuple[Instance, ...] = tuple(instances)
        self.everyone = Candidates(self.instances)
        by_label: dict[str, list[Instance]] = {}
        for instance in self.everyone.instances:
            by_label.setdefault(instance.version, []).append(instance)
        unlabelled = by_label.pop("", [])
        self.versions: Mapping[str, Candidates] = MappingProxyType(
            {label: Candidates(members) for label, members in by_label.items()}
        )
        self._unlabelled = Candidates(unlabelled)
        self._stable: Mapping[str, Candidates] = (
            {label: Candidates([*members, *unlabelled]) for label, members in by_label.items()}
            if unlabelled
            else self.versions
        )

    def version(self, label: str) -> Candidates:
        """Those that carry a label."""
        return self.versions.get(label, NOBODY)

    def stable(self, label: str) -> Candidates:
        """Those that take stable traffic: of the stable label, or of none."""
        return self._stable.get(label, self._unlabelled)

    def __repr__(self) -> str:
        labels = ", ".join(f"{label}: {len(members)}" for label, members in self.versions.items())
        return f"InstanceTable({len(self.instances)} instances; {labels})"


class Selection(NamedTuple):
    """Who may take a call, and how it came to them.

    Attributes:
        candidates: Empty where ``fallback`` is ``refuse``, and only there.
        fallback: None: they are what was asked for. ``stable``, ``any``: they stand in for it. ``refuse``: nobody may.
    """

    candidates: Candidates
    fallback: UsedFallback | None

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The candidates, each once."""
        return self.candidates.instances


REFUSED: Final = Selection(NOBODY, "refuse")


class Picker(Protocol):
    """Chooses who of the candidates takes the next call; may keep state, and is asked from many threads."""

    def pick(self, candidates: Candidates) -> Instance | None:
        """One of them, or None where none is fit now. Never blocks."""


def select(
    table: InstanceTable, label: str | None, stable_label: str | None, fallback: Fallback, *, gray: bool
) -> Selection:
    """Who may take a call to one service. Stable and undecided traffic never gets to a gray instance, whatever fails.

    Args:
        table: Instances of the service.
        label: Label of the decided version; None where nothing was decided.
        stable_label: Label of the stable version; None where no release governs the service: all instances count.
        fallback: What the release says of a version without instances; stable traffic is refused whatever it says.
        gray: Whether the decision is for another version than the stable one.
    """
    if stable_label is None:
        found = table.everyone
        return Selection(found, None) if found else REFUSED
    if not gray or label is None:
        found = table.stable(stable_label)
        return Selection(found, None) if found else REFUSED
    found = table.version(label)
    if found:
        return Selection(found, None)
    if fallback == "refuse":
        return REFUSED
    found = table.everyone if fallback == "any" else table.stable(stable_label)
    return Selection(found, fallback) if found else REFUSED
