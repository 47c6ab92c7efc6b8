"""A Kafka consumer: a line of JSON for each message it worked on, by which version, decision and span."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import graymw
from graymw.messaging.kafka import original_topic

BROKER, LIBRARY = os.environ["BROKER"], os.environ["LIBRARY"]
TOPIC, GROUP = os.environ["TOPIC"], os.environ["GROUP"]
PATIENCE = 0.3
SESSION = int(os.environ["SESSION"])


def tell(topic: str, key: bytes | None, value: bytes, headers: Any, timestamp: int) -> None:
    with trace.get_tracer("work").start_as_current_span("work") as span:
        parent: Any = getattr(span, "parent", None)
        told = {
            "ran": os.environ["GRAYMW_VERSION"],
            "decided": graymw.current().version("checkout"),
            "value": value.decode(),
            "key": key and key.decode(),
            "topic": original_topic(topic, GROUP),
            "headers": [[name, text and text.decode()] for name, text in headers or ()],
            "timestamp": timestamp,
            "trace": f"{span.get_span_context().trace_id:032x}",
            "parent": parent and f"{parent.span_id:016x}",
        }
    print(json.dumps(told), flush=True)
    if value == b"fail" and os.environ["GRAYMW_VERSION"] == "v1":
        raise LookupError("as asked")


def with_aiokafka() -> None:
    if os.environ.get("INSTRUMENTED"):
        from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor

        AIOKafkaInstrumentor().instrument()
    from graymw.messaging.aiokafka import GrayConsumer

    async def work(record: Any) -> None:
        tell(record.topic, record.key, record.value, record.headers, record.timestamp)

    async def main() -> None:
        consumer = GrayConsumer(
            TOPIC,
            group_id=GROUP,
            work=work,
            patience=PATIENCE,
            bootstrap_servers=BROKER,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION,
            heartbeat_interval_ms=200,
            metadata_max_age_ms=1000,
            value_deserializer=lambda value: value,
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        await consumer.run()

    asyncio.run(main())


def with_confluent_kafka() -> None:
    if os.environ.get("INSTRUMENTED"):
        from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor

        ConfluentKafkaInstrumentor().instrument()
    from graymw.messaging.confluent_kafka import GrayConsumer

    def work(message: Any) -> None:
        tell(message.topic(), message.key(), message.value(), message.headers(), message.timestamp()[1])

    config = {
        "bootstrap.servers": BROKER,
        "group.id": GROUP,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": SESSION,
        "heartbeat.interval.ms": 200,
        "topic.metadata.refresh.interval.ms": 1000,
    }
    consumer = GrayConsumer(config, [TOPIC], work, patience=PATIENCE)
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    consumer.run()


graymw.instrument()
trace.set_tracer_provider(TracerProvider())
{"aiokafka": with_aiokafka, "confluent-kafka": with_confluent_kafka}[LIBRARY]()
