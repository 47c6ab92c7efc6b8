"""Kafka by confluent-kafka: a consumer behind the gate. What it does with the messages of other versions: ``kafka``.

>>> producer.produce("orders", b"...", headers=carrying())
>>> GrayConsumer({"bootstrap.servers": "localhost:9092", "group.id": "billing"}, ["orders"], work).run()
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from threading import Event
from typing import Any, Final, TypeAlias, cast

from graymw.errors import MissingExtraError
from graymw.messaging.gate import elsewhere, own_queue
from graymw.messaging.headers import consuming
from graymw.messaging.kafka import (
    AGAIN_AFTER,
    LOOK_AFTER,
    PATIENCE,
    STAND_IN,
    carrying,
    checked,
    is_alive,
    label_of,
    may_stand_in,
    moved,
    moving,
    version_group,
    version_topic,
)
from graymw.runtime import counters

try:
    import confluent_kafka
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # of its C module
except ImportError as error:
    raise MissingExtraError("confluent-kafka", "kafka") from error

__all__ = ["GrayConsumer", "carrying"]

log = logging.getLogger("graymw.messaging")

Work: TypeAlias = Callable[[Any], Any]
"""Takes a ``confluent_kafka.Message``; the message is done when it returns."""

_TURN: Final = 0.2
"""Seconds that all readers together wait for messages."""

_ANSWER_WITHIN: Final = 30.0
"""Seconds that the broker has to confirm, or to tell of its topics."""

_TELL_WITHIN: Final = 5.0
"""Seconds that it has to tell who is of a group; no message is worked on meanwhile."""

_OF_ANY_CLIENT: Final = (
    "bootstrap.servers", "metadata.broker.list", "client.", "security.", "sasl.", "ssl.", "enable.ssl.", "socket.",
    "broker.", "api.version.", "oauth_cb", "error_cb", "log", "debug",
)  # fmt: skip
"""How the settings begin that producers and administrators have in common with consumers."""


class GrayConsumer:
    """Takes messages of this process's version, and moves the others to theirs.

    A message is committed when ``work`` is done with it, so after a fault it comes again. What ``work`` raises ends
    ``run``. All happens in the thread that runs it, one message after the other.

    Args:
        config: As ``confluent_kafka.Consumer`` takes it; ``group.id`` is that of the stable version's consumers, those
            of another version are ``GROUP.LABEL``. Committing is not its business.
        topics: That the application reads.
        work: For each message of ours.
        patience: Seconds, see ``kafka.PATIENCE``.

    Raises:
        ValueError: The group cannot be part of a topic's name.
    """

    def __init__(
        self, config: Mapping[str, Any], topics: Sequence[str], work: Work, *, patience: float = PATIENCE
    ) -> None:
        self._config = dict(config)
        self._group = checked(str(self._config.get("group.id", "")))
        self._topics = tuple(topics)
        self._work = work
        self._patience = patience
        self._readers: dict[str, _Reader] = {}
        self._known: dict[str, tuple[bool, float]] = {}
        self._there: dict[str, int] = {}
        self._looked = float("-inf")
        self._stopped = Event()

    def stop(self) -> None:
        """Let ``run`` return when the message at hand is done; from any thread or signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Read until ``stop``."""
        common = {name: value for name, value in self._config.items() if name.startswith(_OF_ANY_CLIENT)}
        self._admin = AdminClient(common)
        self._producer = confluent_kafka.Producer({**common, "acks": "all"})
        attended = float("-inf")
        try:
            while not self._stopped.is_set():
                own = own_queue(self._group)
                if own not in self._readers or time.monotonic() >= attended + self._patience:
                    self._attend(own)
                    attended = time.monotonic()
                for reader in list(self._readers.values()):
                    reader.take(_TURN / len(self._readers))
        finally:
            self._leave(self._readers)

    def _attend(self, own: str) -> None:
        """Read what is ours, and stand in for whom nobody lives."""
        if own not in self._readers or self._readers[own].stands_in:
            self._leave(self._readers)
            label = label_of(own, self._group)
            for topic in self._topics if label else ():
                self._ensure(version_topic(topic, self._group, label), topic)
            topics = [version_topic(topic, self._group, label) if label else topic for topic in self._topics]
            self._readers[own] = self._start(own, topics, stands_in=False)
        try:
            self._stand_in(own)
        except KafkaException as error:
            _failed("stand in", error)

    def _stand_in(self, own: str) -> None:
        standing = may_stand_in(self._group)
        self._look()
        for label, topics in moved(self._there, self._topics, self._group).items():
            group = version_group(self._group, label)
            if group == own:
                continue
            wanted = standing and not self._ask(group)
            reader = self._readers.get(group)
            if reader is not None and (not wanted or set(topics) != reader.topics):
                self._leave([group])
                reader = None
            if wanted and reader is None:
                self._readers[group] = self._start(group, topics, stands_in=True)

    def _look(self) -> None:
        """Find topics that others made, now and then."""
        if time.monotonic() >= self._looked + LOOK_AFTER * self._patience:
            self._looked = time.monotonic()
            present = self._admin.list_topics(timeout=_ANSWER_WITHIN).topics
            found = moved(present, self._topics, self._group)
            self._there = {topic: len(present[topic].partitions) for topics in found.values() for topic in topics}

    def _start(self, group: str, topics: Iterable[str], *, stands_in: bool) -> _Reader:
        config = {**self._config, "group.id": group, "enable.auto.commit": True, "enable.auto.offset.store": False}
        if group != self._group:
            config["auto.offset.reset"] = "earliest"  # all that is there was moved for this group
        if stands_in:
            config["client.id"] = f"{STAND_IN}-{config.get('client.id', 'rdkafka')}"
        return _Reader(confluent_kafka.Consumer(config), frozenset(topics), self.receive, stands_in=stands_in)

    def _leave(self, groups: Iterable[str]) -> None:
        for group in list(groups):
            self._readers.pop(group).close()

    def receive(self, message: Any) -> bool:
        """Work on a message, or move it. False: neither, for we are to stop."""
        headers = message.headers()
        if message.topic() in self._topics:
            living = _Living(self._live)
            while (target := elsewhere(headers, self._group, living)) not in (None, self._group):
                if self._move(str(target), message):
                    return True
                living = _Living(lambda _: False)
                if self._stopped.wait(AGAIN_AFTER):
                    return False
        with consuming(headers):
            self._work(message)
        return True

    def _live(self, group: str) -> bool:
        """Whether anybody of a version lives, as was said not long ago."""
        answer, until = self._known.get(group, (False, float("-inf")))
        return answer if time.monotonic() < until else self._ask(group)

    def _ask(self, group: str) -> bool:
        described = self._admin.describe_consumer_groups([group], request_timeout=_TELL_WITHIN)[group].result()
        living = is_alive(member.client_id for member in described.members)
        self._known[group] = living, time.monotonic() + self._patience
        return living

    def _move(self, group: str, message: Any) -> bool:
        """Whether the broker confirmed that it has the message in the version's topic."""
        topic = version_topic(message.topic(), self._group, label_of(group, self._group))
        confirmed: list[Any] = []
        try:
            partitions = self._ensure(topic, message.topic())
            place = {"partition": message.partition()} if message.partition() < partitions else {}
            with moving(message.headers()) as headers:
                self._producer.produce(
                    topic,
                    message.value(),
                    key=message.key(),
                    timestamp=message.timestamp()[1],
                    headers=cast("Any", headers),
                    on_delivery=lambda error, _: confirmed.append(error),
                    **place,
                )
            self._producer.flush(_ANSWER_WITHIN)
        except (KafkaException, BufferError) as error:
            return _unmoved(topic, error)
        return True if confirmed == [None] else _unmoved(topic, confirmed)

    def _ensure(self, topic: str, original: str) -> int:
        """Partitions of a version's topic. It is made like the one it is for where it is not there.

        Raises:
            KafkaException: It is not there and may not be made.
        """
        if topic not in self._there:
            present = self._admin.list_topics(timeout=_ANSWER_WITHIN).topics
            if topic not in present:
                partitions = present[original].partitions if original in present else {}
                copies = max((len(partition.replicas) for partition in partitions.values()), default=1)
                self._make(NewTopic(topic, max(len(partitions), 1), copies))
                present = self._admin.list_topics(topic, timeout=_ANSWER_WITHIN).topics
            self._there[topic] = len(present[topic].partitions)
        return self._there[topic]

    def _make(self, topic: NewTopic) -> None:
        try:
            self._admin.create_topics([topic])[topic.topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another instance was first
                raise


class _Living:
    """Who lives, as ``elsewhere`` asks."""

    def __init__(self, live: Callable[[str], bool]) -> None:
        self.live = live


class _Reader:
    """Reads as a member of one group.

    In a context of its own: the instrumentation of OpenTelemetry leaves the span of a message current in it.

    Args:
        receive: For each message; whether it is done.
    """

    def __init__(
        self, consumer: Any, topics: frozenset[str], receive: Callable[[Any], bool], *, stands_in: bool
    ) -> None:
        self.topics = topics
        self.stands_in = stands_in
        self._consumer = consumer
        self._receive = receive
        self._context = copy_context()
        consumer.subscribe(sorted(topics))

    def take(self, seconds: float) -> None:
        """Receive one message, if any comes in time."""
        self._context.run(self._take, seconds)

    def _take(self, seconds: float) -> None:
        message = self._consumer.poll(seconds)
        if message is None:
            return
        if error := message.error():
            if error.fatal():
                raise KafkaException(error)
            _failed("read", KafkaException(error))
            return
        if not self._receive(message):
            return
        try:
            self._consumer.store_offsets(message)
        except KafkaException as error:  # the partition is another member's by now
            _failed("commit", error)

    def close(self) -> None:
        """Commit what is done, and leave."""
        self._context.run(self._consumer.close)


def _unmoved(topic: str, why: object) -> bool:
    counters.count("messaging.unmoved")
    counters.once(log, f"move:{type(why).__name__}", logging.WARNING, "not moved to %s: %r", topic, why)
    return False


def _failed(what: str, error: Exception) -> None:
    counters.count("messaging.error")
    counters.once(log, f"{what}:{type(error).__name__}", logging.WARNING, "could not %s: %r", what, error)
