"""Two versions of a consumer at a real RabbitMQ."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
import real_brokers
from instrumented import instrumented
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.trace import SpanKind

import graymw
from graymw import bootstrap
from graymw.messaging.rabbitmq import GrayConsumer, carrying
from graymw.runtime.current import set_default_engine
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings

SHORT = 0.2


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_brokers.rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


class Instance:
    """One instance of a version, with a connection of its own; several stand in one process."""

    def __init__(self, broker: str, queue: str, engine: Engine) -> None:
        self.engine = engine
        self.connection = pika.BlockingConnection(pika.URLParameters(broker))
        self.channel = self.connection.channel()
        self.seen: list[tuple[bytes, str | None]] = []
        set_default_engine(engine)
        self.consumer = GrayConsumer(self.channel, queue, self._work, patience=SHORT)
        self.consumer.start()

    def _work(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.seen.append((body, graymw.current().version("checkout")))
        channel.basic_ack(method.delivery_tag)

    def turn(self) -> None:
        """Take what has come."""
        set_default_engine(self.engine)
        self.connection.process_data_events(time_limit=0.05)


class Shop:
    """A queue, who sends to it and who takes from it."""

    def __init__(self, broker: str, folder: Path) -> None:
        self.settings: dict[str, str] = {}
        self.broker = broker
        self.folder = folder
        self.queue = f"orders-{uuid.uuid4().hex}"
        self.instances: list[Instance] = []
        self.connection = pika.BlockingConnection(pika.URLParameters(broker))
        self.channel = self.connection.channel()
        self.channel.queue_declare(self.queue, durable=True)
        self.rules(fallback="stable")

    def rules(self, **release: object) -> None:
        document = {"schema": 1, "releases": {"checkout": {"stable": "v1", "rules": [], **release}}}
        self.path = self.folder / f"{uuid.uuid4().hex}.json"
        self.path.write_text(json.dumps(document))

    def engine(self, version: str) -> Engine:
        settings = {"service": "orders", "version": version, "rules": str(self.path), **self.settings}
        return bootstrap.engine_for(Settings.from_mapping(settings))

    def start(self, version: str) -> Instance:
        self.instances.append(Instance(self.broker, self.queue, self.engine(version)))
        return self.instances[-1]

    def send(self, body: bytes, version: str | None) -> None:
        set_default_engine(self.engine("v1"))
        if version is None:
            self.channel.basic_publish("", self.queue, body, properties=carrying())
            return
        with graymw.use("checkout", version):
            self.channel.basic_publish("", self.queue, body, properties=carrying())

    def turns(self, until: Any) -> None:
        """Give each instance its turn until a condition holds."""
        for _ in range(200):
            if until():
                return
            for instance in self.instances:
                instance.turn()
        raise AssertionError([instance.seen for instance in self.instances])

    def close(self) -> None:
        for connection in [self.connection, *(instance.connection for instance in self.instances)]:
            if connection.is_open:
                connection.close()


@pytest.fixture
def shop(broker: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(broker, tmp_path)
    yield shop
    shop.close()


def test_each_message_is_worked_on_by_its_version_under_its_decision(shop: Shop) -> None:
    stable, gray = shop.start("v1"), shop.start("v2")
    for number in range(10):
        shop.send(b"%d" % number, "v2" if number % 2 else "v1")
    shop.turns(lambda: len(stable.seen) + len(gray.seen) == 10)
    assert sorted(stable.seen) == [(b"%d" % number, "v1") for number in range(0, 10, 2)]
    assert sorted(gray.seen) == [(b"%d" % number, "v2") for number in range(1, 10, 2)]


def test_an_undecided_message_is_stable_s(shop: Shop) -> None:
    stable, gray = shop.start("v1"), shop.start("v2")
    shop.send(b"plain", None)
    shop.turns(lambda: stable.seen)
    assert (stable.seen, gray.seen) == ([(b"plain", None)], [])


def test_stable_takes_over_where_no_gray_consumer_was_ever_seen(shop: Shop) -> None:
    stable = shop.start("v1")
    shop.send(b"gray", "v2")
    shop.turns(lambda: stable.seen)
    assert stable.seen == [(b"gray", "v2")]


def test_what_waits_for_a_consumer_that_left_comes_back_to_stable(shop: Shop) -> None:
    """It lies in the queue of the gray version already when the last consumer of it goes."""
    gray = shop.start("v2")
    gray.connection.close()
    shop.instances.clear()
    set_default_engine(shop.engine("v1"))
    with graymw.use("checkout", "v2"):
        shop.channel.basic_publish("", f"{shop.queue}.v2", b"left", properties=carrying())
    stable = shop.start("v1")
    shop.turns(lambda: stable.seen)
    assert stable.seen == [(b"left", "v2")]


def test_where_the_release_refuses_it_waits_until_its_version_comes(shop: Shop) -> None:
    shop.rules(fallback="refuse")
    stable = shop.start("v1")
    shop.send(b"gray", "v2")
    for _ in range(10):
        stable.turn()
    assert stable.seen == []
    gray = shop.start("v2")
    shop.turns(lambda: gray.seen)
    assert (stable.seen, gray.seen) == ([], [(b"gray", "v2")])


def test_a_message_keeps_its_properties_where_it_is_moved(shop: Shop) -> None:
    shop.start("v1")
    gray = shop.start("v2")
    kept: list[Any] = []
    gray.consumer._work = lambda channel, method, properties, body: kept.append(properties)
    properties = pika.BasicProperties(message_id="m1", delivery_mode=2, headers={"kind": "order", "n": 3})
    with graymw.use("checkout", "v2"):
        shop.channel.basic_publish("", shop.queue, b"x", properties=carrying(properties))
    shop.turns(lambda: kept)
    assert (kept[0].message_id, kept[0].delivery_mode) == ("m1", 2)
    assert {"kind": "order", "n": 3}.items() <= kept[0].headers.items()
    assert properties.headers == {"kind": "order", "n": 3}


def test_a_message_that_cannot_be_moved_is_not_lost(shop: Shop) -> None:
    """The queue of its version is there already, with other arguments."""
    shop.rules(fallback="refuse")
    shop.channel.queue_declare(f"{shop.queue}.v2")
    stable = shop.start("v1")
    shop.send(b"gray", "v2")
    for _ in range(5):
        stable.turn()
    stable.connection.close()
    shop.instances.clear()
    found = shop.channel.basic_get(shop.queue, auto_ack=True)
    assert found[2] == b"gray"


@pytest.mark.parametrize("trust", ["private", "signed"])
def test_with_the_instrumentation_of_opentelemetry_each_message_is_one_trace_and_tells_its_decision(
    broker: str, tmp_path: Path, trust: str
) -> None:
    with instrumented(PikaInstrumentor()) as traced:
        shop = Shop(broker, tmp_path)
        shop.settings = {"trust": trust, "secret": "a secret of at least thirty-two characters"}
        try:
            stable, gray = shop.start("v1"), shop.start("v2")
            with traced.tracer.start_as_current_span("caller") as caller:
                shop.send(b"moved", "v2")
                shop.send(b"kept", "v1")
            shop.turns(lambda: stable.seen and gray.seen)
        finally:
            shop.close()
    assert (stable.seen, gray.seen) == ([(b"kept", "v1")], [(b"moved", "v2")])
    received = traced.spans(SpanKind.CONSUMER)
    assert {span.context.trace_id for span in received} == {caller.get_span_context().trace_id}
    by_version = {
        span.attributes["gray.served_version"]: (span.attributes["gray.version"], span.attributes["gray.honoured"])
        for span in received
        if span.attributes and "gray.version" in span.attributes
    }
    assert by_version == {"v1": ("v1", True), "v2": ("v2", True)}
    sent = {span.context.span_id for span in traced.spans(SpanKind.PRODUCER)}
    assert {span.parent.span_id for span in received if span.parent} <= sent
