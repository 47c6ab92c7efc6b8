"""RabbitMQ by aio-pika: messages with the decision, and a consumer behind the gate.

>>> await exchange.publish(carrying(Message(b"...")), "orders")
>>> await GrayConsumer(await connection.channel(), await connection.channel(), "orders", work).start()
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from graymw.errors import MissingExtraError
from graymw.messaging.gate import Answered, elsewhere, own_queue
from graymw.messaging.headers import consuming, inject
from graymw.messaging.version_queues import PATIENCE, version_queue_arguments
from graymw.runtime import counters

try:
    from aio_pika import Message
    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
    from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError
except ImportError as error:
    raise MissingExtraError("aio-pika", "rabbitmq") from error

log = logging.getLogger("graymw.messaging")

Work: TypeAlias = Callable[[AbstractIncomingMessage], Awaitable[Any]]
"""Takes a message, and acknowledges it."""


def carrying(message: Message) -> Message:
    """The message, with the decision of the work at hand in its headers."""
    inject(message.headers)
    return message


class GrayConsumer:
    """Takes messages of this process's version, and moves the others to theirs.

    As ``graymw.messaging.rabbitmq.GrayConsumer``, with which it may share queues.

    Args:
        channel: Messages come by it.
        mover: Another channel, with publisher confirms: messages are moved by it.
        queue: Queue of the stable version; it must exist.
        work: For each message of ours; acknowledging is its business.
        patience: Seconds, see ``PATIENCE``; the same in all processes, for it is an argument of the queues.
    """

    def __init__(
        self, channel: AbstractChannel, mover: AbstractChannel, queue: str, work: Work, *, patience: float = PATIENCE
    ) -> None:
        self._channel = channel
        self._mover = mover
        self._queue = queue
        self._work = work
        self._arguments: Any = version_queue_arguments(queue, patience)

    async def start(self) -> str:
        """Begin to consume from the queue of this process's version; its consumer tag."""
        name = own_queue(self._queue)
        if name == self._queue:
            own = await self._channel.get_queue(name)
        else:
            own = await self._channel.declare_queue(name, durable=True, arguments=self._arguments)
        return await own.consume(self.receive)

    async def receive(self, message: AbstractIncomingMessage) -> None:
        """Callback for ``consume``, for who begins to consume in another way; never with ``no_ack``."""
        target = elsewhere(message.headers, self._queue, Answered(True))
        if target is not None and target != self._queue:
            target = elsewhere(message.headers, self._queue, Answered(await self._live(target)))
        if target is None:
            async with consuming(message.headers):
                await self._work(message)
        elif await self._move(target, message):
            await message.ack()
        else:
            await message.nack(requeue=True)

    async def _live(self, queue: str) -> bool:
        """Whether the broker counts any consumer; the queue is made where it is not there, for it tells in one step."""
        try:
            underlay = await (await self._moving()).get_underlay_channel()
            found = await underlay.queue_declare(queue, durable=True, arguments=self._arguments)
        except (AMQPError, ChannelInvalidStateError) as error:
            counters.count("messaging.error")
            counters.once(log, f"live:{type(error).__name__}", logging.WARNING, "taken for nobody: %r", error)
            return False
        return bool(found.consumer_count)

    async def _move(self, target: str, message: AbstractIncomingMessage) -> bool:
        """Whether the broker confirmed that it has the message in the other queue."""
        try:
            confirmed = await (await self._moving()).default_exchange.publish(message, target, mandatory=True)
        except (AMQPError, ChannelInvalidStateError, DeliveryError) as error:
            return self._unmoved(target, error)
        return self._unmoved(target, "no such queue") if _is_returned(confirmed) else True

    def _unmoved(self, target: str, why: object) -> bool:
        counters.count("messaging.unmoved")
        counters.once(log, f"move:{type(why).__name__}", logging.WARNING, "not moved to %s: %r", target, why)
        return False

    async def _moving(self) -> AbstractChannel:
        """The mover, opened again where the broker closed it for what was asked on it."""
        if self._mover.is_closed:
            await self._mover.reopen()
        return self._mover


def _is_returned(confirmed: object) -> bool:
    """A mandatory message that no queue took comes back as itself instead of a confirmation."""
    return hasattr(confirmed, "delivery") and hasattr(confirmed, "body")
