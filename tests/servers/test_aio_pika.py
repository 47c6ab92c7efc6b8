"""Two versions of an asynchronous consumer at a real RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import real_brokers
from instrumented import instrumented
from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor
from opentelemetry.trace import SpanKind

import graymw
from graymw import bootstrap
from graymw.messaging.aio_pika import GrayConsumer, carrying
from graymw.runtime import counters
from graymw.runtime.current import set_default_engine
from graymw.settings.schema import Settings

SHORT = 0.2


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_brokers.rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


class Shop:
    """A queue and its consumers, each of which is asked under its own version."""

    def __init__(self, connection: Any, folder: Path, fallback: str) -> None:
        self.connection = connection
        self.settings: dict[str, str] = {}
        self.queue = f"orders-{uuid.uuid4().hex}"
        self.seen: list[tuple[str, bytes, str | None]] = []
        self.came = asyncio.Event()
        self.rules = folder / "rules.json"
        release = {"stable": "v1", "rules": [], "fallback": fallback}
        self.rules.write_text(json.dumps({"schema": 1, "releases": {"checkout": release}}))

    def be(self, version: str) -> None:
        """Make this process an instance of a version; only one step at a time runs under it."""
        settings = {"service": "orders", "version": version, "rules": str(self.rules), **self.settings}
        set_default_engine(bootstrap.engine_for(Settings.from_mapping(settings)))

    async def start(self, version: str) -> None:
        async def work(message: Any) -> None:
            self.seen.append((version, message.body, graymw.current().version("checkout")))
            await message.ack()
            self.came.set()

        class Consumer(GrayConsumer):
            async def receive(consumer, message: Any) -> None:
                async with turn:
                    self.be(version)
                    await GrayConsumer.receive(consumer, message)

        turn = self.turn
        self.be(version)
        channel, mover = await self.connection.channel(), await self.connection.channel()
        await Consumer(channel, mover, self.queue, work, patience=SHORT).start()

    async def send(self, body: bytes, version: str) -> None:
        async with self.turn:
            self.be("v1")
            with graymw.use("checkout", version):
                message = carrying(aio_pika.Message(body, message_id=body.decode()))
                await self.channel.default_exchange.publish(message, self.queue)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(15):
            while len(self.seen) < count:
                self.came.clear()
                await self.came.wait()


def at(broker: str, folder: Path, story: Callable[[Shop], Awaitable[None]], fallback: str = "stable") -> Shop:
    async def told() -> Shop:
        async with await aio_pika.connect(broker) as connection:
            shop = Shop(connection, folder, fallback)
            shop.turn = asyncio.Lock()
            shop.channel = await connection.channel()
            await shop.channel.declare_queue(shop.queue, durable=True)
            await story(shop)
            return shop

    return asyncio.run(told())


def test_each_message_is_worked_on_by_its_version_under_its_decision(broker: str, tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.start("v1")
        await shop.start("v2")
        await shop.send(b"a", "v1")
        await shop.send(b"b", "v2")
        await shop.until(2)

    assert sorted(at(broker, tmp_path, story).seen) == [("v1", b"a", "v1"), ("v2", b"b", "v2")]


def test_stable_takes_over_where_no_gray_consumer_lives(broker: str, tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.start("v1")
        await shop.send(b"b", "v2")
        await shop.until(1)

    assert at(broker, tmp_path, story).seen == [("v1", b"b", "v2")]


def test_where_the_release_refuses_it_waits_until_its_version_comes(broker: str, tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        await shop.start("v1")
        await shop.send(b"b", "v2")
        await shop.start("v2")
        await shop.until(1)

    assert at(broker, tmp_path, story, fallback="refuse").seen == [("v2", b"b", "v2")]


def test_a_version_s_queue_that_was_declared_otherwise_still_gets_its_messages_and_stops_no_other(
    broker: str, tmp_path: Path
) -> None:
    async def story(shop: Shop) -> None:
        await shop.channel.declare_queue(f"{shop.queue}.v3")
        await shop.start("v1")
        await shop.start("v2")
        await shop.send(b"c", "v3")
        await shop.send(b"b", "v2")
        await shop.send(b"a", "v1")
        await shop.until(2)

    async def left(queue: str) -> bytes:
        async with await aio_pika.connect(broker) as connection:
            channel = await connection.channel()
            found = await (await channel.get_queue(queue)).get(no_ack=True)
            return bytes(found.body)

    shop = at(broker, tmp_path, story, fallback="refuse")
    assert sorted(shop.seen) == [("v1", b"a", "v1"), ("v2", b"b", "v2")]
    assert asyncio.run(left(f"{shop.queue}.v3")) == b"c"


def test_a_message_that_no_queue_takes_is_not_taken_for_moved(broker: str, tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        consumer = GrayConsumer(
            shop.channel, await shop.connection.channel(), shop.queue, lambda message: message.ack()
        )
        incoming: Any = aio_pika.Message(b"x")
        assert not await consumer._move("nowhere", incoming)
        assert await consumer._move(shop.queue, incoming)

    at(broker, tmp_path, story)
    assert counters.snapshot()["messaging.unmoved"] == 1


@pytest.mark.parametrize("trust", ["private", "signed"])
def test_with_the_instrumentation_of_opentelemetry_each_message_is_one_trace_and_tells_its_decision(
    broker: str, tmp_path: Path, trust: str
) -> None:
    async def story(shop: Shop) -> None:
        shop.settings = {"trust": trust, "secret": "a secret of at least thirty-two characters"}
        await shop.start("v1")
        await shop.start("v2")
        with traced.tracer.start_as_current_span("caller") as caller:
            await shop.send(b"kept", "v1")
            await shop.send(b"moved", "v2")
        traces.add(caller.get_span_context().trace_id)
        await shop.until(2)

    traces: set[int] = set()
    with instrumented(AioPikaInstrumentor()) as traced:
        shop = at(broker, tmp_path, story)
    assert sorted(shop.seen) == [("v1", b"kept", "v1"), ("v2", b"moved", "v2")]
    received = traced.spans(SpanKind.CONSUMER)
    assert {span.context.trace_id for span in received} == traces
    by_version = {
        span.attributes["gray.served_version"]: (span.attributes["gray.version"], span.attributes["gray.honoured"])
        for span in received
        if span.attributes and "gray.version" in span.attributes
    }
    assert by_version == {"v1": ("v1", True), "v2": ("v2", True)}
    sent = {span.context.span_id for span in traced.spans(SpanKind.PRODUCER)}
    assert {span.parent.span_id for span in received if span.parent} <= sent
