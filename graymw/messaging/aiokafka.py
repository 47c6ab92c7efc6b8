"""Kafka by aiokafka: a consumer behind the gate. What it does with the messages of other versions: ``kafka``.

>>> await producer.send_and_wait("orders", b"...", headers=carrying())
>>> await GrayConsumer("orders", group_id="billing", work=work, bootstrap_servers="localhost:9092").run()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from inspect import signature
from typing import Any, Final, TypeAlias

from graymw.errors import MissingExtraError
from graymw.messaging.gate import Answered, elsewhere, own_queue
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
    import aiokafka
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import (
        CommitFailedError,
        GroupIdNotFound,
        IllegalStateError,
        KafkaError,
        TopicAlreadyExistsError,
        for_code,
    )
except ImportError as error:
    raise MissingExtraError("aiokafka", "kafka") from error

__all__ = ["GrayConsumer", "carrying"]

log = logging.getLogger("graymw.messaging")

Work: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Takes a ``ConsumerRecord``; the message is done when it returns."""

_TURN: Final = 200
"""Milliseconds that a reader waits for messages before it looks whether it shall leave."""


class GrayConsumer:
    """Takes messages of this process's version, and moves the others to theirs.

    A message is committed when ``work`` is done with it, so after a fault it comes again. What ``work`` raises ends
    ``run``. Messages of one partition are worked on one after the other.

    Args:
        topics: That the application reads.
        group_id: Of the stable version's consumers; those of another version are ``GROUP.LABEL``.
        work: For each message of ours.
        patience: Seconds, see ``kafka.PATIENCE``.
        options: As ``aiokafka.AIOKafkaConsumer`` takes them; committing is not theirs.

    Raises:
        ValueError: The group cannot be part of a topic's name.
    """

    def __init__(self, *topics: str, group_id: str, work: Work, patience: float = PATIENCE, **options: Any) -> None:
        self._topics = topics
        self._group = checked(group_id)
        self._work = work
        self._patience = patience
        self._deserialize = options.pop("key_deserializer", None), options.pop("value_deserializer", None)
        self._options = options
        self._readers: dict[str, _Reader] = {}
        self._known: dict[str, tuple[bool, float]] = {}
        self._there: set[str] = set()
        self._looked = float("-inf")
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Let ``run`` return when the messages at hand are done."""
        self._stopped.set()

    async def run(self) -> None:
        """Read until ``stop``, or until this is cancelled."""
        async with AsyncExitStack() as opened:
            self._admin = AIOKafkaAdminClient(**self._common(AIOKafkaAdminClient))
            opened.push_async_callback(self._admin.close)
            await self._admin.start()
            self._producer = aiokafka.AIOKafkaProducer(**self._common(aiokafka.AIOKafkaProducer), acks="all")
            opened.push_async_callback(self._producer.stop)
            await self._producer.start()
            opened.push_async_callback(self._end)
            stopped = asyncio.create_task(self._stopped.wait())
            opened.callback(stopped.cancel)
            while not stopped.done():
                await self._attend()
                tasks = [stopped, *(reader.task for reader in self._readers.values())]
                await asyncio.wait(tasks, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
                for group in [group for group, reader in self._readers.items() if reader.task.done()]:
                    await self._readers.pop(group).task
            await self._leave(self._readers)

    def _common(self, kind: Any) -> dict[str, Any]:
        """Options that clients of another kind take as well."""
        taken = signature(kind).parameters
        return {name: value for name, value in self._options.items() if name in taken}

    async def _end(self) -> None:
        tasks = [reader.task for reader in self._readers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attend(self) -> None:
        """Read what is ours, and stand in for whom nobody lives."""
        own = own_queue(self._group)
        if own not in self._readers or self._readers[own].stands_in:
            await self._leave(self._readers)
            label = label_of(own, self._group)
            topics = [version_topic(topic, self._group, label) for topic in self._topics] if label else self._topics
            for topic, original in zip(topics, self._topics, strict=True):
                if label:
                    await self._ensure(topic, original)
            self._readers[own] = self._start(own, topics, stands_in=False)
        try:
            await self._stand_in(own)
        except KafkaError as error:
            _failed("stand in", error)

    async def _stand_in(self, own: str) -> None:
        standing = may_stand_in(self._group)
        await self._look()
        for label, topics in moved(self._there, self._topics, self._group).items():
            group = version_group(self._group, label)
            if group == own:
                continue
            wanted = standing and not await self._ask(group)
            reader = self._readers.get(group)
            if reader is not None and (not wanted or set(topics) != reader.topics):
                await self._leave([group])
                reader = None
            if wanted and reader is None:
                self._readers[group] = self._start(group, topics, stands_in=True)

    async def _look(self) -> None:
        """Find topics that others made, now and then."""
        now = asyncio.get_running_loop().time()
        if now >= self._looked + LOOK_AFTER * self._patience:
            self._looked = now
            found = moved(await self._admin.list_topics(), self._topics, self._group)
            self._there = {topic for topics in found.values() for topic in topics}

    def _start(self, group: str, topics: Iterable[str], *, stands_in: bool) -> _Reader:
        options = {**self._options, "group_id": group, "enable_auto_commit": False}
        if group != self._group:
            options["auto_offset_reset"] = "earliest"  # all that is there was moved for this group
        if stands_in:
            options["client_id"] = f"{STAND_IN}-{options.get('client_id', 'aiokafka')}"
        consumer = aiokafka.AIOKafkaConsumer(*topics, **options)
        return _Reader(consumer, frozenset(topics), self.receive, None if stands_in else self._is_own(group))

    def _is_own(self, group: str) -> Callable[[], bool]:
        return lambda: own_queue(self._group) == group

    async def _leave(self, groups: Iterable[str]) -> None:
        """Let readers end what they are at."""
        leaving = [self._readers.pop(group) for group in list(groups)]
        for reader in leaving:
            reader.leaves = True
        await asyncio.gather(*(reader.task for reader in leaving))

    async def receive(self, record: Any) -> bool:
        """Work on a message, or move it. False: neither, for we are to stop."""
        if record.topic in self._topics:
            target = elsewhere(record.headers, self._group, Answered(True))
            living = target not in (None, self._group) and await self._live(str(target))
            while (target := elsewhere(record.headers, self._group, Answered(living))) not in (None, self._group):
                if await self._move(str(target), record):
                    return True
                living = False
                await asyncio.sleep(AGAIN_AFTER)
                if self._stopped.is_set():
                    return False
        key, value = self._deserialize
        if key is not None:
            record = replace(record, key=key(record.key))
        if value is not None:
            record = replace(record, value=value(record.value))
        async with consuming(record.headers):
            await self._work(record)
        return True

    async def _live(self, group: str) -> bool:
        """Whether anybody of a version lives, as was said not long ago."""
        answer, until = self._known.get(group, (False, float("-inf")))
        if asyncio.get_running_loop().time() < until:
            return answer
        try:
            return await self._ask(group)
        except KafkaError as error:
            _failed("ask who lives", error)
            return False

    async def _ask(self, group: str) -> bool:
        (answer,) = await self._admin.describe_consumer_groups([group])
        described = answer.to_object()["groups"][0]
        if described["error_code"] not in (0, GroupIdNotFound.errno):
            raise for_code(described["error_code"])(f"nobody can tell who is of {group}")
        living = is_alive(member["client_id"] for member in described["members"])
        self._known[group] = living, asyncio.get_running_loop().time() + self._patience
        return living

    async def _move(self, group: str, record: Any) -> bool:
        """Whether the broker confirmed that it has the message in the version's topic."""
        topic = version_topic(record.topic, self._group, label_of(group, self._group))
        try:
            await self._ensure(topic, record.topic)
            partitions = await self._producer.partitions_for(topic)
            with moving(record.headers) as headers:
                await self._producer.send_and_wait(
                    topic,
                    record.value,
                    key=record.key,
                    partition=record.partition if record.partition in partitions else None,
                    timestamp_ms=record.timestamp,
                    headers=headers,
                )
        except KafkaError as error:
            counters.count("messaging.unmoved")
            counters.once(log, f"move:{type(error).__name__}", logging.WARNING, "not moved to %s: %r", topic, error)
            return False
        return True

    async def _ensure(self, topic: str, original: str) -> None:
        """Make a version's topic, with as many partitions and copies as the one it is for, unless it is there.

        Raises:
            KafkaError: It is not there and may not be made.
        """
        if topic in self._there:
            return
        if topic not in await self._admin.list_topics():
            (described,) = await self._admin.describe_topics([original])
            partitions = described["partitions"]
            copies = len(partitions[0]["replicas"]) if partitions else 1
            made = await self._admin.create_topics([NewTopic(topic, max(len(partitions), 1), copies)])
            code = made.to_object()["topic_errors"][0]["error_code"]
            if code not in (0, TopicAlreadyExistsError.errno):
                raise for_code(code)(f"no topic {topic}, and it may not be made here: make it, or allow that")
        self._there.add(topic)


class _Reader:
    """Reads as a member of one group, in a task of its own.

    Args:
        receive: For each message; whether it is done.
        belongs: Whether the group is still the one to read as; None: it stands in for others.
    """

    def __init__(
        self,
        consumer: Any,
        topics: frozenset[str],
        receive: Callable[[Any], Awaitable[bool]],
        belongs: Callable[[], bool] | None,
    ) -> None:
        self.topics = topics
        self.leaves = False
        self._consumer = consumer
        self._receive = receive
        self._belongs = belongs
        self.task = asyncio.create_task(self._run())

    @property
    def stands_in(self) -> bool:
        return self._belongs is None

    async def _run(self) -> None:
        try:
            try:
                await self._consumer.start()
                while not self._leaving():
                    for partition, records in (await self._consumer.getmany(timeout_ms=_TURN)).items():
                        await self._take(partition, records)
            finally:
                await self._consumer.stop()
        except KafkaError as error:
            if not self.stands_in:
                raise
            _failed("stand in", error)

    def _leaving(self) -> bool:
        if self._belongs is not None and not self._belongs():
            self.leaves = True
        return self.leaves

    async def _take(self, partition: Any, records: Iterable[Any]) -> None:
        done = None
        try:
            for record in records:
                if self._leaving() or partition not in self._consumer.assignment():
                    break
                if not await self._receive(record):
                    break
                done = record.offset + 1
        finally:
            if done is not None:
                await self._commit(partition, done)

    async def _commit(self, partition: Any, offset: int) -> None:
        try:
            await self._consumer.commit({partition: offset})
        except (CommitFailedError, IllegalStateError) as error:  # the partition is another member's by now
            _failed("commit", error)


def _failed(what: str, error: Exception) -> None:
    counters.count("messaging.error")
    counters.once(log, f"{what}:{type(error).__name__}", logging.WARNING, "could not %s: %r", what, error)
