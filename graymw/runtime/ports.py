"""What the runtime needs from the outside: rule documents, instances, registration.

Reading, watching and registering are separate ports, so that an adapter implements what its backend can do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from graymw.core.instances import Instance

DocumentFormat: TypeAlias = Literal["yaml", "json", "toml"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A rule document as its source holds it at one moment.

    Attributes:
        text: The document; None where the source can be read but holds none.
        origin: Where it comes from, for people; without credentials.
        format: What the source knows about the format; None: to be found out from the text.
        version: The source's own mark of this content (an index, an ETag, a hash); empty without one.
        keep: Whether the document is worth keeping on disk for a start without its source.
    """

    text: str | bytes | None = field(repr=False)
    origin: str
    format: DocumentFormat | None = None
    version: str = ""
    keep: bool = True

    @property
    def absence(self) -> str:
        """What to tell people where it holds none."""
        return f"{self.origin} holds no rule document; mend GRAYMW_RULES, or put one there"


class RuleSource(Protocol):
    """Where the rule document comes from. Methods raise ``SourceError`` where it cannot be read now."""

    @property
    def name(self) -> str:
        """The source for people, without credentials."""

    async def load(self) -> Fetched:
        """The document as it is now."""

    def watch(self) -> AsyncIterator[Fetched]:
        """The document as it is now, then again whenever it has changed.

        An iterator ends or raises ``SourceError`` when the source is out of reach; the caller begins anew later.
        """


@runtime_checkable
class LocalRuleSource(Protocol):
    """A rule source that can be read at once, without a network: it may be read while the application starts."""

    def read_now(self) -> Fetched:
        """The document as it is now.

        Raises:
            SourceError: It cannot be read.
            RulesError: What is there makes no document, which the source knows better to say than its reader.
        """


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a rule document, as its history keeps it.

    Attributes:
        text: The document after it.
        revision: Revision of that document.
        at: When, in seconds since the Unix epoch.
        who: Who made it.
        what: What was done, as a command line tells it: ``set checkout --share v2=10%``.
        why: The reason that was given; empty without one.
    """

    text: str = field(repr=False)
    revision: str
    at: float
    who: str
    what: str
    why: str = ""


class RuleStore(Protocol):
    """A rule source that can be written to. Methods raise ``SourceError`` where it cannot be reached or refuses."""

    @property
    def name(self) -> str:
        """The store for people, without credentials."""

    async def read(self) -> Fetched:
        """The document as it is now; its ``version`` is what a write is compared with, empty where there is none."""

    async def write(self, change: Change, *, expected: str) -> None:
        """Put a document in the place of the one that was read, and the change into the history, both or neither.

        Args:
            change: The new document and its story.
            expected: ``version`` of what was read.

        Raises:
            ConflictError: Somebody else has written meanwhile; nothing was changed.
        """

    async def history(self, limit: int) -> list[Change]:
        """The last changes, newest first. What a backend's own history does not know of a change is empty."""

    async def close(self) -> None:
        """Let go of connections."""


class Instances(Protocol):
    """Instances known in this process now; never blocks, so that a request may ask."""

    def instances(self, service: str) -> tuple[Instance, ...] | None:
        """Instances of a service; None where the service is not known at all."""


class Registry(Instances, Protocol):
    """What keeps the instances of a process current.

    Attributes:
        last_error: Why they cannot be read now; empty where they can.
    """

    last_error: str

    @property
    def name(self) -> str:
        """The registry for people, without credentials."""

    @property
    def ready(self) -> bool:
        """Whether all that is to be looked up has been told once."""

    @property
    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        """All services known now."""

    def want(self, services: Iterable[str]) -> None:
        """Look up these services, which rules name; they take the place of those wanted before."""

    def start(self) -> None:
        """Keep current from now on. Waits for nothing remote."""

    def stop(self) -> None:
        """Keep current no more; what is known stays."""


class ServiceSource(Protocol):
    """A registry that is watched service by service."""

    @property
    def name(self) -> str:
        """The registry for people, without credentials."""

    def watch(self, service: str) -> AsyncIterator[tuple[Instance, ...]]:
        """Healthy instances of a service as they are now, then again whenever they have changed.

        An iterator ends or raises ``SourceError`` when the registry is out of reach; the caller begins anew later and
        keeps what it knows until then.
        """

    async def close(self) -> None:
        """Let go of connections; a later ``watch`` makes new ones."""


@runtime_checkable
class ServiceNames(Protocol):
    """A registry that can tell which services there are."""

    def watch_names(self) -> AsyncIterator[frozenset[str]]:
        """Names of all services as they are now, then again whenever they have changed; ends as ``watch`` does."""


@runtime_checkable
class CatalogueSource(Protocol):
    """A registry that is watched as a whole."""

    @property
    def name(self) -> str:
        """The registry for people, without credentials."""

    def watch_all(self) -> AsyncIterator[Mapping[str, tuple[Instance, ...]]]:
        """Healthy instances of all services as they are now, then again whenever they have changed; see ``watch``.

        The tuple of a service that has not changed is the same object as before.
        """

    async def close(self) -> None:
        """Let go of connections; a later ``watch_all`` makes new ones."""


InstanceSource: TypeAlias = ServiceSource | CatalogueSource


class Registrar(Protocol):
    """A registry to stand in. Methods raise ``SourceError`` where it cannot be reached."""

    @property
    def name(self) -> str:
        """The registry for people, without credentials."""

    @property
    def heartbeat_seconds(self) -> float:
        """How often ``heartbeat`` is due."""

    async def register(self, instance: Instance) -> None:
        """Make the instance known; again for one that is known already, with what may have changed about it."""

    async def heartbeat(self, instance: Instance) -> bool:
        """Keep the instance known. False: the registry no longer knows it, so it must be registered again."""

    async def deregister(self, instance: Instance) -> None:
        """Take the instance out; no error where it is out already."""

    async def close(self) -> None:
        """Let go of connections without taking the instance out: another process of the same address goes on.

        A later call makes new ones.
        """
