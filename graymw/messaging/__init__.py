"""Messages: the decision travels in their headers, and each is worked on by the version that was decided.

One module for each library; what stands here serves any that has headers or properties.
"""

from __future__ import annotations

from graymw.messaging.gate import Consumers, elsewhere, honours, own_queue, queue_of
from graymw.messaging.headers import consuming, inject

__all__ = ["Consumers", "consuming", "elsewhere", "honours", "inject", "own_queue", "queue_of"]
