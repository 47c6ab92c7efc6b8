"""Trying a failed call once more at another instance: when that may be done, and how often (contract, §6)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from graymw.core.instances import Instance
from graymw.errors import GrayUnavailableError
from graymw.runtime import counters
from graymw.runtime.health import Failure, is_overloaded
from graymw.runtime.instance_picking import InstanceDirectory
from graymw.runtime.loads import Ticket

if TYPE_CHECKING:
    from graymw.runtime.outbound import Outgoing

log = logging.getLogger("graymw.outbound")

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods of which twice is as good as once (RFC 9110, §9.2.2)."""

MOST_REFUSALS: Final = 3
"""Instances of a version that one call is tried at where each refuses it at once; then it is the fallback's turn."""


class Tries(NamedTuple):
    """What was tried of a call before.

    Attributes:
        tried: Authorities of the instances.
        ejected: The last of them was ejected for it.
    """

    tried: frozenset[str]
    ejected: bool

    @property
    def elsewhere(self) -> bool:
        """Whether the version has been tried often enough."""
        return len(self.tried) >= MOST_REFUSALS


class Attempt:
    """One try of a call at an instance. It ends once.

    Args:
        method: HTTP method; of a gRPC call its name.
        before: Tries before this one; None for none.
    """

    __slots__ = ("_before", "_directory", "_instance", "_method", "_ticket")

    def __init__(
        self,
        directory: InstanceDirectory,
        instance: Instance,
        ticket: Ticket | None,
        *,
        method: str,
        before: Tries | None,
    ) -> None:
        self._directory = directory
        self._instance = instance
        self._ticket = ticket
        self._method = method
        self._before = before

    def answered(self, status: int) -> None:
        """The instance answered with an HTTP status code."""
        self.left()
        overloaded = is_overloaded(status)
        if overloaded or self._directory.health.records:
            self._directory.health.answered(self._instance, overloaded=overloaded)

    def answered_rpc(self, *, overloaded: bool) -> None:
        """The instance answered a gRPC call.

        Args:
            overloaded: With ``UNAVAILABLE``.
        """
        self.left()
        if overloaded or self._directory.health.records:
            self._directory.health.answered(self._instance, overloaded=overloaded)

    def left(self) -> None:
        """The call is over, and says nothing about its instance."""
        if self._ticket is not None:
            self._ticket.end()

    def failed(self, failure: Failure) -> Tries:
        """The call failed at the instance."""
        self.left()
        before = self._before.tried if self._before is not None else frozenset()
        ejected = self._directory.health.failed(self._instance, failure)
        return Tries(before | {self._instance.authority}, ejected)

    def again(
        self, failure: Failure, tries: Tries, plan: Callable[[Tries], Outgoing | None], *, replayable: bool
    ) -> Outgoing | None:
        """Plan of the next try; None where the call may not be tried again or nobody else may take it.

        Args:
            failure: How the last try failed.
            plan: Makes the plan of the next try.
            replayable: What was to be sent can be sent again.
        """
        if not replayable or not self._may_follow(failure, tries):
            return None
        budget = self._directory.budget
        if not budget.take():
            counters.count("retry.refused")
            counters.once(log, "retry.refused", logging.WARNING, "a call is not tried again: the retry budget is spent")
            return None
        try:
            outgoing = plan(tries)
        except GrayUnavailableError:
            outgoing = None
        except Exception as error:  # noqa: BLE001 - the caller is told what the library said
            counters.count("outbound.error")
            counters.once(log, f"retry:{type(error).__name__}", logging.ERROR, "a call is not tried again: %r", error)
            outgoing = None
        if outgoing is None or outgoing.instance is None:
            budget.give_back()
            return None
        counters.count("retry.sent")
        failed = self._instance
        if self._directory.first_time(f"retried:{failed.service}:{failed.authority}"):
            log.warning(
                "a call of %s failed at %s and is tried at %s; further ones are only counted",
                failed.service,
                failed.authority,
                outgoing.instance.authority,
            )
        return outgoing

    def _may_follow(self, failure: Failure, tries: Tries) -> bool:
        """Once, of calls that were not sent or may be sent twice; more often where each instance refused at once."""
        if failure == "broken" and self._method not in IDEMPOTENT:
            return False
        if failure == "refused":
            return len(tries.tried) <= MOST_REFUSALS
        return len(tries.tried) == 1
