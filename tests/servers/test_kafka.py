"""Consumers of two versions, in processes of their own, at a real Kafka; by both libraries."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import pytest
import real_kafka
from confluent_kafka.admin import AdminClient, NewTopic
from instrumented import instrumented
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor
from opentelemetry.trace import SpanKind
from waiting import eventually

import graymw
from graymw.bootstrap import engine_for
from graymw.messaging.kafka import carrying, version_topic
from graymw.settings.schema import Settings

SERVICE = Path(__file__).parents[1] / "messaging" / "services" / "kafka_service.py"
PATIENCE = 30
SENT_AT = int(time.time() * 1000) - 60_000
"""Milliseconds; what was sent longer ago than the broker retains is deleted."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_kafka.running(tmp_path_factory.mktemp("kafka")) as address:
        yield address


class Instance:
    """One instance of a version, and what it worked on."""

    def __init__(self, process: subprocess.Popen[bytes], version: str, output: Path) -> None:
        self.process = process
        self.version = version
        self.output = output

    @property
    def seen(self) -> list[dict[str, Any]]:
        lines = self.output.with_suffix(".out").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    @property
    def errors(self) -> str:
        return self.output.with_suffix(".err").read_text()

    @property
    def values(self) -> list[str]:
        return [told["value"] for told in self.seen]

    def end(self, by: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, by)
        self.process.wait(PATIENCE)


class Shop:
    """A topic, who sends to it and who reads from it."""

    def __init__(self, broker: str, library: str, folder: Path) -> None:
        self.settings = {"service": "shop", "version": "v1"}
        self.broker = broker
        self.library = library
        self.folder = folder
        self.topic = f"orders-{uuid.uuid4().hex[:8]}"
        self.group = f"billing-{uuid.uuid4().hex[:8]}"
        self.instances: list[Instance] = []
        self.admin = AdminClient({"bootstrap.servers": broker})
        self.admin.create_topics([NewTopic(self.topic, 3, 1)])[self.topic].result()
        self.path = folder / "rules.json"
        self.rules()

    def rules(self, *, stable: str = "v1", **release: object) -> None:
        self.stable = stable
        document = {"schema": 1, "releases": {"checkout": {"stable": stable, "rules": [], **release}}}
        unfinished = self.path.with_suffix(".new")
        unfinished.write_text(json.dumps(document))
        unfinished.replace(self.path)

    def start(self, version: str, *, library: str = "", wait: bool = True, **more: str) -> Instance:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GRAYMW_STATE_DIR": str(self.folder),
            "GRAYMW_SERVICE": "orders",
            "GRAYMW_VERSION": version,
            "GRAYMW_RULES": str(self.path),
            "BROKER": self.broker,
            "TOPIC": self.topic,
            "GROUP": self.group,
            "LIBRARY": library or self.library,
            "SESSION": "10000",
            **more,
        }
        output = self.folder / f"{version}-{uuid.uuid4().hex[:8]}"
        with output.with_suffix(".out").open("w") as out, output.with_suffix(".err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, str(SERVICE)], env=environ, stdout=out, stderr=err, start_new_session=True
            )
        instance = Instance(process, version, output)
        self.instances.append(instance)
        if wait:
            eventually(lambda: process.poll() is not None or self.members(version), PATIENCE)
            assert process.poll() is None, output.with_suffix(".err").read_text()
        return instance

    def members(self, version: str, *, standing_in: bool = False) -> int:
        """Members of a version's group that have partitions: those of the version, or those that stand in."""
        group = self.group if version == self.stable else f"{self.group}.{version}"
        described = self.described(group)
        return sum(
            bool(member.assignment.topic_partitions)
            for member in described.members
            if member.client_id.startswith("graymw-stand-in") == standing_in
        )

    def described(self, group: str) -> Any:
        """A group, as soon as its coordinator can tell."""
        answers = iter(lambda: self.admin.describe_consumer_groups([group], request_timeout=5)[group], None)
        return next(answer.result() for answer in answers if answer.exception() is None)

    def topics(self) -> list[str]:
        """Those of versions."""
        return [name for name in self.admin.list_topics(timeout=10).topics if name.startswith(f"{self.topic}.")]

    def version_topic(self, version: str) -> str:
        return version_topic(self.topic, self.group, version)

    def send(self, value: str, version: str | None, *, key: bytes | None = b"k", headers: Any = None) -> None:
        engine_for(Settings.from_mapping({**self.settings, "rules": str(self.path)}))
        if version is None:
            self.produce(value, key, carrying(headers))
            return
        with graymw.use("checkout", version):
            self.produce(value, key, carrying(headers))

    def produce(self, value: str, key: bytes | None, headers: Any, topic: str = "") -> None:
        topic = topic or self.topic
        if self.library == "aiokafka":
            asyncio.run(self._produce(value, key, headers, topic))
            return
        producer = confluent_kafka.Producer({"bootstrap.servers": self.broker})
        producer.produce(topic, value.encode(), key=key, headers=headers, timestamp=SENT_AT)
        assert producer.flush(PATIENCE) == 0

    async def _produce(self, value: str, key: bytes | None, headers: Any, topic: str) -> None:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=self.broker) as producer:
            await producer.send_and_wait(topic, value.encode(), key=key, headers=headers, timestamp_ms=SENT_AT)

    def close(self) -> None:
        for instance in self.instances:
            instance.end(signal.SIGKILL)


@pytest.fixture(params=["aiokafka", "confluent-kafka"])
def shop(request: pytest.FixtureRequest, broker: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(broker, request.param, tmp_path)
    yield shop
    shop.close()


def decided(instance: Instance) -> set[str | None]:
    return {told["decided"] for told in instance.seen}


def test_each_message_is_worked_on_by_its_version_under_its_decision(shop: Shop) -> None:
    stable, gray = shop.start("v1"), shop.start("v2")
    for number in range(10):
        shop.send(str(number), "v2" if number % 2 else "v1", key=str(number).encode())
    eventually(lambda: len(stable.seen) + len(gray.seen) >= 10, PATIENCE)
    assert sorted(stable.values) == ["0", "2", "4", "6", "8"]
    assert sorted(gray.values) == ["1", "3", "5", "7", "9"]
    assert (decided(stable), decided(gray)) == ({"v1"}, {"v2"})


def test_a_moved_message_keeps_what_it_came_with(shop: Shop) -> None:
    shop.start("v1")
    gray = shop.start("v2")
    shop.send("gray", "v2", key=b"customer-7", headers=[("kind", b"order"), ("kind", b"twice"), ("none", None)])
    eventually(lambda: gray.seen, PATIENCE)
    (told,) = gray.seen
    assert (told["topic"], told["key"], told["timestamp"]) == (shop.topic, "customer-7", SENT_AT)
    assert told["headers"][:3] == [["kind", "order"], ["kind", "twice"], ["none", None]]
    assert [name for name, _ in told["headers"]].count("baggage") == 1


def test_an_undecided_message_is_stable_s(shop: Shop) -> None:
    stable, gray = shop.start("v1"), shop.start("v2")
    shop.send("plain", None)
    eventually(lambda: stable.seen, PATIENCE)
    assert (stable.values, decided(stable), gray.seen) == (["plain"], {None}, [])


def test_stable_takes_over_where_no_gray_consumer_was_ever_seen(shop: Shop) -> None:
    stable = shop.start("v1")
    shop.send("gray", "v2")
    eventually(lambda: stable.seen, PATIENCE)
    assert (stable.values, decided(stable)) == (["gray"], {"v2"})
    assert shop.topics() == []


def test_stable_stands_in_for_what_lies_there_when_the_gray_consumers_are_gone(shop: Shop) -> None:
    """And the gray version goes on with its own when it is back."""
    stable, gray = shop.start("v1"), shop.start("v2")
    shop.send("first", "v2")
    eventually(lambda: gray.seen, PATIENCE)
    gray.end()
    with graymw.use("checkout", "v2"):
        shop.produce("left", b"k", carrying(), shop.version_topic("v2"))
    eventually(lambda: stable.seen, PATIENCE)
    assert (stable.values, decided(stable)) == (["left"], {"v2"})
    back = shop.start("v2")
    eventually(lambda: not shop.members("v2", standing_in=True), PATIENCE)
    shop.send("again", "v2")
    eventually(lambda: "again" in back.values + stable.values, PATIENCE)
    assert (gray.values, stable.values, back.values) == (["first"], ["left"], ["again"])


def test_a_gray_consumer_that_dies_is_stood_in_for_too(shop: Shop) -> None:
    stable, gray = shop.start("v1"), shop.start("v2", SESSION="2000")
    gray.end(signal.SIGKILL)
    shop.send("gray", "v2")
    eventually(lambda: stable.seen, PATIENCE)
    assert stable.values == ["gray"]


def test_where_the_release_refuses_it_waits_until_its_version_comes(shop: Shop) -> None:
    shop.rules(fallback="refuse")
    stable = shop.start("v1")
    shop.send("gray", "v2")
    shop.send("stable", "v1")
    eventually(lambda: stable.seen, PATIENCE)
    gray = shop.start("v2")
    eventually(lambda: gray.seen, PATIENCE)
    assert (stable.values, gray.values) == (["stable"], ["gray"])


def test_what_was_moved_before_the_gray_version_became_stable_is_worked_on_once(shop: Shop) -> None:
    shop.rules(fallback="refuse")
    before, gray = shop.start("v1"), shop.start("v2")
    shop.send("first", "v2")
    eventually(lambda: gray.seen, PATIENCE)
    gray.end()
    shop.send("between", "v2")
    shop.send("stable", "v1")
    eventually(lambda: before.seen, PATIENCE)
    shop.rules(stable="v2")
    eventually(lambda: shop.members("v1"), PATIENCE)
    after = shop.start("v2")
    for value, version in [("new", "v2"), ("old", "v1"), ("plain", None)]:
        shop.send(value, version)
    eventually(lambda: len(before.seen) + len(after.seen) >= 5, PATIENCE)
    assert sorted(before.values) == ["old", "stable"]
    assert sorted(after.values) == ["between", "new", "plain"]


def test_a_message_whose_work_failed_comes_again(shop: Shop) -> None:
    first = shop.start("v1")
    shop.send("fine", "v1")
    eventually(lambda: first.seen, PATIENCE)
    shop.send("fail", "v1")
    assert first.process.wait(PATIENCE) == 1
    assert "LookupError: as asked" in first.errors
    shop.rules(stable="v3")
    second = shop.start("v3")
    eventually(lambda: second.seen, PATIENCE)
    assert second.values == ["fail"]


def test_versions_may_read_by_different_libraries(shop: Shop) -> None:
    other = {"aiokafka": "confluent-kafka", "confluent-kafka": "aiokafka"}[shop.library]
    stable, gray = shop.start("v1"), shop.start("v2", library=other)
    shop.send("a", "v1")
    shop.send("b", "v2")
    eventually(lambda: stable.seen and gray.seen, PATIENCE)
    gray.end()
    shop.send("c", "v2")
    eventually(lambda: len(stable.seen) == 2, PATIENCE)
    assert (stable.values, gray.values) == (["a", "c"], ["b"])


@pytest.fixture
def unmovable(shop: Shop) -> Iterator[Shop]:
    """Somebody is of the gray version's group, and its topic's name would be too long."""
    shop.group = "g" * 235
    config = {"bootstrap.servers": shop.broker, "group.id": f"{shop.group}.v2"}
    consumer = confluent_kafka.Consumer(config)
    consumer.subscribe([shop.topic])
    eventually(lambda: consumer.poll(0.05) or consumer.assignment(), PATIENCE)
    yield shop
    consumer.close()


def test_a_message_that_cannot_be_moved_is_taken_over_by_stable(unmovable: Shop) -> None:
    stable = unmovable.start("v1")
    unmovable.send("gray", "v2")
    eventually(lambda: stable.seen, PATIENCE)
    assert "not moved to" in stable.errors


def test_where_the_release_refuses_that_it_is_tried_again_and_not_lost(unmovable: Shop) -> None:
    unmovable.rules(fallback="refuse")
    stable = unmovable.start("v1")
    unmovable.send("gray", "v2")
    eventually(lambda: "not moved to" in stable.errors, PATIENCE)
    stable.end()
    assert (stable.process.returncode, stable.seen) == (0, [])
    unmovable.rules(stable="v2")
    later = unmovable.start("v2")
    eventually(lambda: later.seen, PATIENCE)
    assert later.values == ["gray"]


def test_a_version_whose_topic_cannot_be_made_says_so(shop: Shop) -> None:
    shop.group = "g" * 235
    gray = shop.start("v2", wait=False)
    assert gray.process.wait(PATIENCE) == 1
    assert shop.version_topic("v2") in gray.errors


INSTRUMENTORS = {"aiokafka": AIOKafkaInstrumentor, "confluent-kafka": ConfluentKafkaInstrumentor}
SIGNED = {"trust": "signed", "secret": "a secret of at least thirty-two characters"}


@pytest.mark.parametrize("consumer", ["", "1"], ids=["plain consumer", "instrumented consumer"])
def test_with_the_instrumentations_of_opentelemetry_nothing_is_doubled_and_signatures_hold(
    shop: Shop, consumer: str
) -> None:
    shop.settings |= SIGNED
    environ = {f"GRAYMW_{name.upper()}": value for name, value in SIGNED.items()}
    stable = shop.start("v1", INSTRUMENTED=consumer, **environ)
    gray = shop.start("v2", INSTRUMENTED=consumer, **environ)
    with (
        instrumented(INSTRUMENTORS[shop.library]()) as traced,
        traced.tracer.start_as_current_span("caller") as caller,
    ):
        shop.send("gray", "v2")
        shop.send("stable", "v1")
    eventually(lambda: stable.seen and gray.seen, PATIENCE)
    (theirs,), (ours,) = gray.seen, stable.seen
    assert (theirs["decided"], ours["decided"]) == ("v2", "v1")
    for told in (theirs, ours):
        assert sorted(name for name, _ in told["headers"]) == ["baggage", "gray-sig", "traceparent"]
    sent = {span.context.span_id for span in traced.spans(SpanKind.PRODUCER)}
    assert dict(ours["headers"])["traceparent"].split("-")[2] in {f"{span_id:016x}" for span_id in sent}
    trace = f"{caller.get_span_context().trace_id:032x}"
    assert dict(theirs["headers"])["traceparent"].split("-")[1] == trace
    if not (
        consumer and shop.library == "confluent-kafka"
    ):  # whose span of the work is a trace of its own, with a link
        assert (theirs["trace"], ours["trace"]) == (trace, trace)
