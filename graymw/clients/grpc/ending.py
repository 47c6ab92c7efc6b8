"""How a call ended, told by its gRPC status."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import grpc
from grpc import aio

from graymw.runtime.outbound import Outgoing


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
