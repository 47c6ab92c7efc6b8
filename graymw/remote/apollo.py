"""Apollo's config service: a namespace, and the long poll that tells of its releases.

Facts: apolloconfig.com, "Other language client user guide"; apolloconfig/apollo, ``apollo-configservice``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, NoReturn, Self
from urllib.parse import quote, urlencode

from graymw.errors import SourceError
from graymw.remote.http import Answer, HttpClient
from graymw.settings.access import Access

PORT: Final = 8080
HELD_SECONDS: Final = 90.0
"""The server holds a poll for 60 s, or for as long as its settings say, 90 s at most."""

GRACE_SECONDS: Final = 10.0

_NEVER: Final = -1
"""Number of the notification that a client has seen which has seen none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace.

    Attributes:
        shown: The URL for people.
        label: Label of this client, for Apollo's own gray releases of configuration; empty without one.
        ip: Address of this client for the same; empty: the one that the server sees.
    """

    app: str
    cluster: str
    namespace: str
    shown: str
    label: str = ""
    ip: str = ""


@dataclass(frozen=True, slots=True)
class Notified:
    """The last release that the server told of.

    Attributes:
        number: Its number; -1 for none.
        messages: What to hand back when the namespace is read, so that no server answers with less than that.
    """

    number: int = _NEVER
    messages: Mapping[str, Any] = field(default_factory=dict)


class ApolloClient:
    """A connection to one config service, which may have several servers; to be made and used in one event loop.

    Args:
        base_urls: Where each server is.
        place: The namespace.
        access: ``secret_key`` signs each request, where it is set; certificates.
        clock: Seconds since the Unix epoch.
    """

    def __init__(
        self, base_urls: tuple[str, ...], place: Place, access: Access, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._http = HttpClient(base_urls, access, backend="apollo")
        self._place = place
        self._secret = access.secret_key
        self._clock = clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def configurations(self, seen: Notified) -> Mapping[str, str] | None:
        """Keys and values of the namespace; None where nothing was ever released.

        Args:
            seen: The last release known of, so that a server that lags behind looks again.

        Raises:
            SourceError: No server can be asked now, or it refuses.
        """
        place = self._place
        path = "/".join(("/configs", *(quote(part, safe="") for part in (place.app, place.cluster, place.namespace))))
        query = {"ip": place.ip, "label": place.label}
        if seen.messages:
            query["messages"] = json.dumps(seen.messages, separators=(",", ":"))
        # Without the key of a release, which could have the server tell the difference to that only.
        answer = await self._get(path, query)
        if answer.status == 404:
            return None
        body = self._body(answer)
        if not isinstance(body, dict):
            self._strange(answer)
        held = body.get("configurations")
        if held is None and isinstance(body.get("configurationChanges"), list):  # the difference to nothing
            held = {it["key"]: it.get("newValue") for it in body["configurationChanges"] if isinstance(it, dict)}
        if not isinstance(held, dict):
            self._strange(answer)
        return {str(key): value for key, value in held.items() if isinstance(value, str)}

    async def notified(self, seen: Notified) -> Notified | None:
        """Wait for another release than the last one known of; None where there was none for about a minute.

        Raises:
            SourceError: No server can be asked now, or it refuses.
        """
        place = self._place
        asked = [{"namespaceName": place.namespace, "notificationId": seen.number}]
        query = {
            "appId": place.app,
            "cluster": place.cluster,
            "notifications": json.dumps(asked, separators=(",", ":")),
            "ip": place.ip,
        }
        answer = await self._get("/notifications/v2", query, timeout=HELD_SECONDS + GRACE_SECONDS)
        if answer.status == 304:
            return None
        body = self._body(answer)
        try:
            (told,) = body
            messages = told.get("messages")
            return Notified(int(told["notificationId"]), messages if isinstance(messages, dict) else {})
        except (ValueError, TypeError, KeyError, AttributeError):
            self._strange(answer)

    async def _get(self, path: str, query: Mapping[str, str], timeout: float | None = None) -> Answer:  # noqa: ASYNC109
        written = urlencode({key: value for key, value in query.items() if value}, quote_via=quote, safe="")
        target = f"{path}?{written}" if written else path
        headers = signed(target, self._place.app, self._secret, self._clock()) if self._secret else {}
        answer = await self._http.request("GET", target, headers=headers, timeout=timeout)
        if answer.status in (401, 403):
            mend = "check GRAYMW_RULES_SECRET_KEY, and that the clocks agree to a minute"
            raise SourceError(
                f"{self._place.shown} refuses this client (status {answer.status}, {answer.shown}); {mend}"
            )
        return answer

    def _body(self, answer: Answer) -> Any:
        if answer.status != 200:
            self._strange(answer)
        return answer.json()

    def _strange(self, answer: Answer) -> NoReturn:
        told = f"{self._place.shown} answers with status {answer.status} ({answer.shown})"
        raise SourceError(f"{told}; check that it is Apollo's config service that listens there")


def signed(target: str, app: str, secret: str, now: float) -> dict[str, str]:
    """Header fields that prove the knowledge of an access key.

    Args:
        target: Path and query as they are sent.
        app: The application whose key it is.
        secret: The key.
        now: Seconds since the Unix epoch; the server allows a minute of difference.
    """
    timestamp = str(int(now * 1000))
    digest = hmac.new(secret.encode(), f"{timestamp}\n{target}".encode(), hashlib.sha1).digest()
    return {"authorization": f"Apollo {app}:{base64.b64encode(digest).decode()}", "timestamp": timestamp}
