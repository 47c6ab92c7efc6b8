"""RabbitMQ by pika's blocking connection: messages with the decision, and a consumer behind the gate.

>>> channel.basic_publish("", "orders", body, properties=carrying())
>>> consumer = GrayConsumer(channel, "orders", work)
>>> consumer.start()
>>> channel.start_consuming()
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from graymw.errors import MissingExtraError
from graymw.messaging.gate import elsewhere, own_queue
from graymw.messaging.headers import consuming, inject
from graymw.messaging.version_queues import PATIENCE, version_queue_arguments
from graymw.runtime import counters

try:
    from pika import BasicProperties
    from pika.exceptions import AMQPChannelError, ChannelClosedByBroker, NackError, UnroutableError
except ImportError as error:
    raise MissingExtraError("pika", "rabbitmq") from error

log = logging.getLogger("graymw.messaging")

Work: TypeAlias = Callable[[Any, Any, BasicProperties, bytes], None]
"""Takes channel, method, properties and body, as ``basic_consume`` gives them, and acknowledges the message."""


def carrying(properties: BasicProperties | None = None) -> BasicProperties:
    """Properties for a message that carries the decision of the work at hand.

    Args:
        properties: To be completed; they are not changed.
    """
    completed = copy.copy(properties) if properties is not None else BasicProperties()
    headers = dict(completed.headers or {})
    inject(headers)
    completed.headers = headers
    return completed


class GrayConsumer:
    """Takes messages of this process's version, and moves the others to theirs.

    The stable version's queue is the application's own. That of another version is declared here, and gives back by
    dead-lettering what nobody took in time, so that nothing is left behind in the queue of a version that is gone.

    Args:
        channel: Of a ``BlockingConnection``; its connection gets a second one for moving messages.
        queue: Queue of the stable version; it must exist.
        work: For each message of ours; acknowledging is its business.
        patience: Seconds, see ``PATIENCE``; the same in all processes, for it is an argument of the queues.
    """

    def __init__(self, channel: Any, queue: str, work: Work, *, patience: float = PATIENCE) -> None:
        self._channel = channel
        self._connection = channel.connection
        self._queue = queue
        self._work = work
        self._patience = patience
        self._mover: Any = None

    def start(self) -> str:
        """Begin to consume from the queue of this process's version; its consumer tag."""
        own = own_queue(self._queue)
        if own != self._queue:
            self._declare(self._channel, own)
        return str(self._channel.basic_consume(own, self.receive))

    def live(self, queue: str) -> bool:
        """Whether the broker counts any consumer of a queue."""
        try:
            found = self._moving().queue_declare(queue, passive=True)
        except ChannelClosedByBroker as error:
            if error.reply_code != 404:
                raise
            return False
        return bool(found.method.consumer_count)

    def receive(self, channel: Any, method: Any, properties: BasicProperties, body: bytes) -> None:
        """Callback for ``basic_consume``, for who begins to consume in another way; never with ``auto_ack``."""
        headers: Mapping[str, object] | None = properties.headers
        target = elsewhere(headers, self._queue, self)
        if target is None:
            with consuming(headers):
                self._work(channel, method, properties, body)
        elif self._move(target, properties, body):
            channel.basic_ack(method.delivery_tag)
        else:
            channel.basic_nack(method.delivery_tag, requeue=True)

    def _move(self, target: str, properties: BasicProperties, body: bytes) -> bool:
        """Whether the broker confirmed that it has the message in the other queue."""
        try:
            mover = self._moving()
            if target != self._queue:
                self._declare(mover, target)
            mover.basic_publish("", target, body, properties, mandatory=True)
        except (AMQPChannelError, NackError, UnroutableError) as error:
            counters.count("messaging.unmoved")
            counters.once(log, f"move:{type(error).__name__}", logging.WARNING, "not moved to %s: %r", target, error)
            return False
        return True

    def _declare(self, channel: Any, queue: str) -> None:
        channel.queue_declare(queue, durable=True, arguments=version_queue_arguments(self._queue, self._patience))

    def _moving(self) -> Any:
        """A channel of our own: what fails on it, such as asking for a queue that is not there, closes no other."""
        if self._mover is None or not self._mover.is_open:
            self._mover = self._connection.channel()
            self._mover.confirm_delivery()
        return self._mover
