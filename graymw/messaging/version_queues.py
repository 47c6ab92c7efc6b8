"""Queues of RabbitMQ for the versions beside the stable one, the same from whichever library declares them."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 5.0
"""Seconds after which a message that no consumer of its version took goes back to where all begin."""


def version_queue_arguments(stable: str, patience: float) -> dict[str, str | int]:
    """Arguments of a version's queue: what nobody took in time is dead-lettered back to the stable one.

    Args:
        stable: Name of the stable version's queue.
        patience: Seconds.
    """
    return {
        "x-message-ttl": int(patience * 1_000),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": stable,
    }
