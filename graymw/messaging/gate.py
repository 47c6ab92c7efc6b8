"""The gate of a consumer: is this message for my version, and if not, whose is it?

Each version takes its messages from a queue of its own: the stable one from the queue itself, the others from
``QUEUE.LABEL``. A message for another version is moved to that one's queue, never put back where its reader would meet
it again. Where nobody of its version lives, the release's ``fallback`` says who takes over, as it does for calls.
"""

from __future__ import annotations

import logging
from typing import NamedTuple, Protocol

from graymw.core.model import Release
from graymw.messaging.headers import Headers, fields_of, inherited
from graymw.runtime import counters
from graymw.runtime.current import default_engine
from graymw.runtime.engine import Engine

log = logging.getLogger("graymw.messaging")


class Consumers(Protocol):
    """Who takes messages; each library knows in its own way."""

    def live(self, queue: str) -> bool:
        """Whether anybody takes messages from a queue now."""
        ...


def honours(headers: Headers) -> bool:
    """Whether a message is for the version of this process.

    True where nothing is decided for this service and this process is of the stable version, and where no release
    governs the service or the process has no version: nothing can be said against it then.
    """
    return _wanted(headers) is None


def elsewhere(headers: Headers, queue: str, consumers: Consumers) -> str | None:
    """Queue that a message is to be moved to; None: it is this process's to work on.

    Args:
        queue: Queue of the stable version.
        consumers: Asked only where the message is for another version. Where they cannot tell, nobody lives.
    """
    wanted = _wanted(headers)
    if wanted is None:
        return None
    engine, release, label = wanted
    target = queue_of(queue, label, stable=release.label(engine.settings.service, release.stable))
    if target == queue or release.fallback == "refuse" or _live(consumers, target):
        return target
    if own_queue(queue) == queue or release.fallback == "any":
        counters.count(f"fallback.{release.fallback}")
        return None
    return queue


class Answered(NamedTuple):
    """The answer of consumers that were asked before, for libraries that answer asynchronously."""

    living: bool

    def live(self, queue: str) -> bool:  # noqa: ARG002 - of the protocol
        """As they answered."""
        return self.living


def queue_of(queue: str, label: str, *, stable: str) -> str:
    """Queue that a version takes its messages from.

    Args:
        queue: Queue of the stable version.
        label: Label of the version's instances.
        stable: Label of the stable version's.
    """
    return queue if label == stable else f"{queue}.{label}"


def own_queue(queue: str) -> str:
    """Queue that this process takes its messages from: ``queue`` unless it is of another version than the stable one.

    Args:
        queue: Queue of the stable version.
    """
    engine = default_engine()
    if engine is None or not engine.settings.enabled or not engine.settings.version:
        return queue
    service = engine.settings.service
    release = engine.snapshot.document.governing(service)
    if release is None:
        return queue
    return queue_of(queue, engine.settings.version, stable=release.label(service, release.stable))


def _wanted(headers: Headers) -> tuple[Engine, Release, str] | None:
    """Release and label that a message is for, where they are not this process's."""
    engine = default_engine()
    if engine is None or not engine.settings.enabled or not engine.settings.version:
        return None
    service = engine.settings.service
    release = engine.snapshot.document.governing(service)
    if release is None:
        return None
    decision = inherited(engine, fields_of(headers)).gray.decisions.get(release.name)
    label = release.label(service, release.stable if decision is None else decision.version)
    return None if label == engine.settings.version else (engine, release, label)


def _live(consumers: Consumers, queue: str) -> bool:
    try:
        return consumers.live(queue)
    except Exception as error:  # noqa: BLE001 - a broker that cannot tell must not stop the work
        counters.count("messaging.error")
        counters.once(log, f"live:{type(error).__name__}", logging.WARNING, "taken for nobody: %r", error)
        return False
