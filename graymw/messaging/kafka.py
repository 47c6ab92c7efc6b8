"""Kafka, by whichever library: headers of messages with the decision, and where the versions' messages are.

>>> await producer.send_and_wait("orders", b"...", headers=carrying())

A topic is a log that many groups read, each at its own place: nothing can be put back, and nothing taken out. So the
stable version's consumers read the topic itself, as the group that the application names. A message for another version
they move to a topic of that version and group, ``TOPIC.gray.GROUP.LABEL``, which the version's consumers read as the
group ``GROUP.LABEL``. Where the message lies says from then on who works on it, also after another version has become
the stable one; with one topic and a filter, what one group had passed over and the other had not reached would be lost
then, or worked on twice. Where nobody of a version lives, consumers of the stable one stand in for its group.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Final, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry.context.context import Context

from graymw.core.carrying import wire
from graymw.messaging.gate import own_queue
from graymw.messaging.headers import OURS, consuming, inject
from graymw.runtime import tracing
from graymw.runtime.current import default_engine

PATIENCE: Final = 5.0
"""Seconds for which it is believed who lives, and after which others stand in for a version that left."""

LOOK_AFTER: Final = 10
"""Patiences after which all topics are looked through, for versions that only others have moved messages for."""

AGAIN_AFTER: Final = 1.0
"""Seconds after which moving a message is tried again."""

STAND_IN: Final = "graymw-stand-in"
"""How the client ids of those begin who read in the place of another version."""

_GRAY: Final = ".gray."
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")

Header: TypeAlias = tuple[str, bytes | None]


_SETTERS: Final = (
    ("opentelemetry.instrumentation.aiokafka.utils", "AIOKafkaContextSetter"),
    ("opentelemetry.instrumentation.confluent_kafka.utils", "KafkaContextSetter"),
    ("opentelemetry.instrumentation.kafka.utils", "KafkaContextSetter"),
)
"""What OpenTelemetry's instrumentations write into headers with: module and class."""


def carrying(headers: Mapping[str, bytes | None] | Iterable[Header] | None = None) -> list[Header]:
    """Headers for a message that carries the decision of the work at hand.

    Args:
        headers: To be completed; they are not changed.
    """
    _mend_setters()
    given = list(headers.items() if isinstance(headers, Mapping) else headers or ())
    names = OURS | tracing.propagation().fields
    carriers: dict[str, str | bytes | None] = {name: value for name, value in given if name.lower() in names}
    inject(carriers)
    written = [(name, value.encode() if isinstance(value, str) else value) for name, value in carriers.items()]
    return [*(header for header in given if header[0].lower() not in names), *written]


@contextmanager
def moving(headers: Iterable[Header] | None) -> Iterator[list[Header]]:
    """Within it a message is sent on; yields its headers, as they came.

    Where an instrumentation makes a span of that, it stands in the sender's trace, between sender and consumer.
    """
    _mend_setters()
    token = otel_context.attach(Context())
    try:
        with consuming(headers):
            yield list(headers or ())
    finally:
        otel_context.detach(token)


def _mend_setters() -> None:
    """Let instrumentations replace a header, as setters are to do, instead of appending a second one."""
    for module, name in _SETTERS:
        setter = getattr(sys.modules.get(module), name, None)
        if setter is not None and not hasattr(setter.set, "__wrapped__"):
            setter.set = _replacing(setter.set)


def _replacing(append: Callable[..., None]) -> Callable[..., None]:
    @wraps(append)
    def replace(self: object, carrier: object, key: str, value: str) -> None:
        if isinstance(carrier, list) and key and key.lower() in tracing.propagation().fields:
            present = [place for place, (name, _) in enumerate(carrier) if name.lower() == key.lower()]
            if key.lower() == "baggage":
                if any(wire.separate((_text(carrier[place][1]),)).gray for place in present):
                    return  # ours is whole, and signed where that is asked for
                present = []
            for place in reversed(present):
                del carrier[place]
        append(self, carrier, key, value)

    return replace


def _text(value: bytes | str | None) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value or ""


def version_topic(topic: str, group: str, label: str) -> str:
    """Topic that holds what a group has moved out of a topic for a version."""
    return f"{topic}{_GRAY}{group}.{label}"


def original_topic(topic: str, group: str) -> str:
    """Topic that a message was sent to, whether it was moved since or not.

    Args:
        topic: That it came from.
        group: Of the stable version's consumers.
    """
    return topic.partition(f"{_GRAY}{group}.")[0]


def version_group(group: str, label: str) -> str:
    """Group that a version's consumers read its topics as."""
    return f"{group}.{label}"


def label_of(version_group: str, group: str) -> str:
    """Label of the version that a group is of; empty for the stable one's.

    Args:
        group: Of the stable version's consumers.
    """
    return version_group.removeprefix(group).removeprefix(".")


def moved(present: Iterable[str], topics: Iterable[str], group: str) -> dict[str, list[str]]:
    """By label the topics that hold what was moved for it.

    Args:
        present: All topics there are.
        topics: Those that the application reads.
        group: Of the stable version's consumers.
    """
    beginnings = [version_topic(topic, group, "") for topic in topics]
    found: dict[str, list[str]] = {}
    for name in sorted(present):
        for beginning in beginnings:
            if name.startswith(beginning):
                found.setdefault(name.removeprefix(beginning), []).append(name)
    return found


def may_stand_in(group: str) -> bool:
    """Whether this process reads for versions of which nobody lives.

    Args:
        group: Of the stable version's consumers.
    """
    engine = default_engine()
    release = engine.snapshot.document.governing(engine.settings.service) if engine is not None else None
    if release is not None and release.fallback != "stable":
        return release.fallback == "any"
    return own_queue(group) == group


def is_alive(client_ids: Iterable[str]) -> bool:
    """Whether any member of a group is of its version."""
    return any(not name.startswith(STAND_IN) for name in client_ids)


def checked(group: str) -> str:
    """The group, where topics can be named after it.

    Raises:
        ValueError: They cannot.
    """
    if not _NAME.fullmatch(group):
        raise ValueError(f"topics are named after the group, so it has letters, digits, '.', '_', '-' only: {group!r}")
    return group
