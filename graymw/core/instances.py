"""Instances of a service, and which of them may take a call of a decided version (contract, §6).

Tables are built once, when a registry reports; a request only looks up. Which of the candidates takes the call
(health, zone, turn) is settled elsewhere: ``graymw.core.balancing``, ``graymw.runtime.instance_picking``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from graymw.core.model import Fallback

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
        gray: Whether its owner marked it: it takes no calls to a service that no release governs; without a label, only
            those that fall back to ``any``.
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
    """Instances that may take a call. Compared by identity.

    Attributes:
        instances: Each once, in the order the registry gave; weight above 0.
    """

    __slots__ = ("instances",)

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.instances: tuple[Instance, ...] = tuple(instance for instance in instances if instance.weight > 0)

    def __bool__(self) -> bool:
        return bool(self.instances)

    def __len__(self) -> int:
        return len(self.instances)

    def __repr__(self) -> str:
        return f"Candidates({', '.join(instance.authority for instance in self.instances)})"


NOBODY: Final = Candidates()


class InstanceTable:
    """Candidates of one service, ready for every question a request can ask. Immutable.

    Attributes:
        instances: All, those of weight 0 included.
        everyone: All that take traffic.
        open: Of these, all but those marked gray: who takes calls to a service that no release governs.
        versions: By label, those that carry it, marked or not: where a release governs, the label tells.
    """

    __slots__ = ("_stable", "_unlabelled", "everyone", "instances", "open", "versions")

    def __init__(self, instances: Iterable[Instance] = ()) -> None:
        self.instances: tuple[Instance, ...] = tuple(instances)
        self.everyone = Candidates(self.instances)
        taking = self.everyone.instances
        self.open = (
            Candidates(one for one in taking if not one.gray) if any(one.gray for one in taking) else self.everyone
        )
        by_label: dict[str, list[Instance]] = {}
        for instance in taking:
            by_label.setdefault(instance.version, []).append(instance)
        unlabelled = [instance for instance in by_label.pop("", []) if not instance.gray]
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
        """Those that take stable traffic: of the stable label, or of none and not marked gray."""
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


Fit: TypeAlias = Callable[[Candidates], int]
"""Tells how many of some candidates could take a call now."""


def select(
    table: InstanceTable,
    label: str | None,
    stable_label: str | None,
    fallback: Fallback,
    *,
    gray: bool,
    min_instances: int = 1,
    fit: Fit = len,
) -> Selection:
    """Who may take a call to one service. Stable and undecided traffic never gets to a gray instance, whatever fails.

    Where a release governs, gray instances are those of another label than the stable one, and those without a label
    that are marked gray; where none governs, those that are marked.

    Args:
        table: Instances of the service.
        label: Label of the decided version; None where nothing was decided.
        stable_label: Label of the stable version; None where no release governs the service.
        fallback: What the release says of a version without instances; stable traffic is refused whatever it says.
        gray: Whether the decision is for another version than the stable one.
        min_instances: Fit instances that a gray version needs before it takes its share.
        fit: Tells how many could take a call. Where none could and nobody may stand in for them, they are tried all the
            same: a call that may fail is better than one that has to.
    """
    if stable_label is None:
        return _given(table.open)
    if not gray or label is None:
        return _given(table.stable(stable_label))
    wanted = table.version(label)
    if wanted and fit(wanted) >= min_instances:
        return Selection(wanted, None)
    enough = len(wanted) >= min_instances
    if fallback == "refuse":
        return Selection(wanted, None) if enough else REFUSED
    substitute = table.everyone if fallback == "any" else table.stable(stable_label)
    if not substitute or (enough and not fit(substitute)):
        return Selection(wanted, None) if enough else REFUSED
    return Selection(substitute, fallback)


def _given(candidates: Candidates) -> Selection:
    return Selection(candidates, None) if candidates else REFUSED
