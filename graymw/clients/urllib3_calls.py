"""A call over urllib3 that is under way, and what its failure says of the instance."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProtocolError

from graymw.core.instances import Instance
from graymw.runtime.health import Failure
from graymw.runtime.retrying import IDEMPOTENT


class Planned:
    """A call that is planned already.

    Args:
        origin: Scheme, host and port it is addressed to.
        instance: Where it is to go; None: as addressed.
        pool: The pool that is sending it, where that is known.

    Attributes:
        sent: By a retry of urllib3's own it may have been sent before.
        redirected: urllib3 follows a redirect within the pool, so what is being sent is another request.
    """

    __slots__ = ("instance", "origin", "pool", "redirected", "sent")

    def __init__(self, origin: tuple[str, str, int | None], instance: Instance | None, pool: Any = None) -> None:
        self.origin = origin
        self.instance = instance
        self.pool = pool
        self.sent = False
        self.redirected = False

    def once_more(self, retries: Any) -> None:
        """urllib3 sends it again, for the last reason that these ``retries`` name."""
        history = getattr(retries, "history", ())
        if history:
            self.sent = self.sent or not isinstance(history[-1].error, ConnectTimeoutError)
            self.redirected = self.redirected or bool(history[-1].redirect_location)

    def may_follow(self, failure: Failure, method: str, body: object) -> bool:
        """Whether the call can be sent to another instance, as far as what was sent goes."""
        if self.redirected or (self.sent and method.upper() not in IDEMPOTENT):
            return False
        return body is None or isinstance(body, (bytes, str)) or not (self.sent or failure == "broken")


PLANNED: Final[ContextVar[Planned | None]] = ContextVar("graymw_urllib3_planned", default=None)
"""Set while a call is under way, so that the layers below do not plan it again."""


def failure_of(error: object) -> Failure | None:
    """How a call failed at its instance; None where the error does not say so."""
    reason: Any = error.reason if isinstance(error, MaxRetryError) else error
    if isinstance(reason, NewConnectionError):
        return "refused"
    if isinstance(reason, ConnectTimeoutError):
        return "unanswered"
    # a body that breaks off is a ProtocolError as well, of other words
    aborted = isinstance(reason, ProtocolError) and reason.args[:1] == ("Connection aborted.",)
    return "broken" if aborted and isinstance(reason.args[-1], ConnectionError) else None
