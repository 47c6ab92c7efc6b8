"""What errors of httpx and httpx2 say of an instance, and which bodies can be sent again."""

from __future__ import annotations

import ssl
from types import ModuleType
from typing import Any, Final

from graymw.runtime.health import Failure

_HUNG_UP: Final = "Server disconnected without sending a response."
"""How httpcore words that a connection ended before a response, which it has no class for."""


class Errors:
    """Of one of the libraries.

    Args:
        library: The imported module.
    """

    def __init__(self, library: ModuleType) -> None:
        self._refused = library.ConnectError
        self._unanswered = library.ConnectTimeout
        self._broken = (library.ReadError, library.WriteError)
        self._protocol = library.RemoteProtocolError
        self._bytes = library.ByteStream

    def failure(self, error: BaseException, transport: Any) -> Failure | None:
        """How a call failed at its instance; None where the error does not say so.

        Args:
            transport: What it was sent over; through a proxy nothing is known of the instance.
        """
        if proxy_of(transport) is not None:
            return None
        if isinstance(error, self._refused):
            return None if _is_about_tls(error) else "refused"
        if isinstance(error, self._unanswered):
            return "unanswered"
        if isinstance(error, self._broken) or (isinstance(error, self._protocol) and _HUNG_UP in str(error)):
            return "broken"
        return None

    def is_replayable(self, stream: Any, failure: Failure) -> bool:
        """Whether a body can be sent again. Before a connection is made nothing of it is read."""
        if isinstance(stream, self._bytes):
            return True
        return failure != "broken" and not getattr(stream, "_is_stream_consumed", False)


def proxy_of(transport: Any) -> Any:
    """URL of the proxy that a transport of the library's goes through; None for none."""
    return getattr(getattr(transport, "_pool", None), "_proxy_url", None)


def _is_about_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
