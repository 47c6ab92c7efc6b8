"""What an observation learns from an answer as it passes: ASGI's messages, WSGI's ``start_response``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from graymw.runtime.observing import Observation

Message = MutableMapping[str, Any]

_STARTS: Final = ("http.response.start", "websocket.http.response.start")


def observed_send(
    send: Callable[[Message], Awaitable[None]], observation: Observation | None
) -> Callable[[Message], Awaitable[None]]:
    """ASGI's ``send`` that tells status and end. A WebSocket lasts until the application is done with it."""
    if observation is None:
        return send
    accepted = False

    async def observed(message: Message) -> None:
        nonlocal accepted
        kind = message["type"]
        if kind in _STARTS:
            observation.answered(message["status"])
        elif kind == "websocket.accept":
            accepted = True
            observation.answered(101)
        elif kind == "websocket.close" and not accepted:
            observation.answered(403)  # ASGI, WebSocket, "Close - send event"
        await send(message)
        if kind == "http.response.body" and not message.get("more_body", False):
            observation.end()

    return observed


def observed_start(start_response: Callable[..., Any], observation: Observation) -> Callable[..., Any]:
    """WSGI's ``start_response`` that tells the status."""

    def observed(status: str, headers: list[tuple[str, str]], *args: Any, **kwargs: Any) -> Any:
        if status[:3].isdigit():
            observation.answered(int(status[:3]))
        return start_response(status, headers, *args, **kwargs)

    return observed
