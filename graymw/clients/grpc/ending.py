"""How a call ended, told by its gRPC status."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

import grpc
from grpc import aio

from graymw.runtime.outbound import Outgoing

_NO_CONNECTION: Final = ("failed to connect to all addresses", "errors resolving", "DNS resolution failed")


def end(outgoing: Outgoing, code: Any, details: Any) -> None:
    """Finish a plan.

    Args:
        code: A ``grpc.StatusCode``; anything else: the call cannot tell.
        details: What the status says in words, where it is text.
    """
    if isinstance(code, grpc.StatusCode):
        outgoing.finish_rpc(code.value[0], code.name, details if isinstance(details, str) else None)
    else:
        outgoing.finish()


def is_unsent(code: Any, details: Any) -> bool:
    """Whether a call failed for want of a connection to its instance, so that nothing of it was sent.

    gRPC has the same status for that and for what a server answers; only its words tell. A server that TLS does not
    accept is reached all the same.
    """
    if code is not grpc.StatusCode.UNAVAILABLE or not isinstance(details, str):
        return False
    return details.startswith(_NO_CONNECTION) and "handshake" not in details.lower()


def again_raised(outgoing: Outgoing, error: BaseException, *, replayable: bool) -> Outgoing | None:
    """Finish a plan whose blocking call raised, and return the plan of the next try; None: raise the error."""
    call: Any = error
    if not isinstance(call, grpc.Call):
        outgoing.finish(error=error)
        return None
    return again_ended(outgoing, call.code(), call.details(), replayable=replayable)


def again_ended(outgoing: Outgoing, code: Any, details: Any, *, replayable: bool) -> Outgoing | None:
    """Finish a plan by its status, and return the plan of the next try; None where that was the last."""
    if is_unsent(code, details):
        return outgoing.failed_rpc(code.value[0], code.name, details, replayable=replayable)
    end(outgoing, code, details)
    return None


def again_ended_aio(outgoing: Outgoing, call: Any, *, replayable: bool) -> Outgoing | None:
    """As ``again_ended``, for an asyncio call that is over."""
    return again_ended(outgoing, _answer(call.code()), _answer(call.details()), replayable=replayable)


def end_raised(outgoing: Outgoing, error: BaseException) -> None:
    """Finish a plan whose call raised: grpc's own errors are calls that tell their status, others have none."""
    call: Any = error
    if isinstance(call, (grpc.Call, aio.AioRpcError)):
        end_finished(outgoing, call)
    else:
        outgoing.finish(error=error)


def end_finished(outgoing: Outgoing, call: Any) -> None:
    """Finish a plan whose blocking call is over."""
    end(outgoing, call.code(), call.details())


def end_finished_aio(outgoing: Outgoing, call: Any) -> None:
    """Finish a plan whose asyncio call is over: its coroutines have nothing left to wait for."""
    end(outgoing, _answer(call.code()), _answer(call.details()))


def _answer(asking: Coroutine[Any, Any, Any]) -> Any:
    try:
        asking.send(None)
    except StopIteration as answer:
        return answer.value
    except Exception:  # noqa: BLE001 - the status is for the span alone
        return None
    finally:
        asking.close()
    return None
