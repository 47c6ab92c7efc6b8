"""Who we are to Nacos: a log-in's token, or an access key that signs each request."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from graymw.errors import SourceError
from graymw.remote.http import HttpClient, UnreachableError
from graymw.remote.nacos.place import PUBLIC, NacosPlace
from graymw.remote.tokens import current_token
from graymw.settings.access import Access

_LOGINS: Final = ("/nacos/v3/auth/user/login", "/nacos/v1/auth/login")
"""Of Nacos 3 and of Nacos 2."""

_EARLY: Final = 0.1
"""Share of a token's life in which the next one is fetched already."""


@dataclass(slots=True)
class Memory:
    """What was found out about a server, for the connections that come later, in whatever loop.

    Attributes:
        token: The token of the log-in; empty before it.
        fresh_until: When the next one is to be fetched, by ``time.monotonic``.
        speaks_v3: Whether the server has the HTTP API of Nacos 3; None before that is known.
    """

    token: str = field(default="", repr=False)
    fresh_until: float = 0.0
    speaks_v3: bool | None = None


class Credentials:
    """Headers that say who asks; to be used in one event loop.

    Args:
        place: Which servers.
        access: User and password, or a token, or an access key; without any, nobody is asked who he is.
        http: A client of the same servers.
        memory: Where the token is kept.
    """

    def __init__(
        self,
        place: NacosPlace,
        access: Access,
        http: HttpClient,
        memory: Memory,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._access = access.with_login(place.url.user, place.url.password)
        self._http = http
        self._clock = clock
        self._memory = memory
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """The token to show; empty where there is no log-in.

        Raises:
            SourceError: Nobody lets us in.
        """
        if self._access.token:
            return current_token(self._access)
        if not self._access.user:
            return ""
        async with self._lock:
            if self._clock() >= self._memory.fresh_until:
                await self._log_in()
            return self._memory.token

    def forget(self, token: str) -> bool:
        """Log in anew next time, as a server refused a token; False where that would change nothing."""
        if self._access.token or not self._access.user:
            return False
        if token == self._memory.token:
            self._memory.fresh_until = 0.0
        return True

    async def http_headers(self, signed: Mapping[str, str]) -> dict[str, str]:
        """Headers of an HTTP request.

        Args:
            signed: What ``naming_signature`` or ``config_signature`` returned.
        """
        token = await self.token()
        return {**signed, **({"authorization": f"Bearer {token}"} if token else {})}

    async def grpc_headers(self, signed: Mapping[str, str]) -> dict[str, str]:
        """Headers of a gRPC request; see ``http_headers``."""
        token = await self.token()
        return {**signed, **({"accessToken": token} if token else {})}

    def naming_signature(self, group: str, service: str) -> dict[str, str]:
        """What the access key says to a request about a service (``NamingResourceInjector`` of Nacos' own client)."""
        if not self._access.access_key:
            return {}
        data = f"{_milliseconds()}@@{group}@@{service}"
        return {"ak": self._access.access_key, "data": data, "signature": _signature(data, self._access.secret_key)}

    def config_signature(self, namespace: str, group: str) -> dict[str, str]:
        """What the access key says to a request about a configuration (``SpasAdapter`` of Nacos' own client)."""
        if not self._access.access_key:
            return {}
        timestamp = _milliseconds()
        tenant = "" if namespace == PUBLIC else namespace
        data = "+".join(part for part in (tenant, group, timestamp) if part)
        return {
            "Spas-AccessKey": self._access.access_key,
            "Timestamp": timestamp,
            "Spas-Signature": _signature(data, self._access.secret_key),
        }

    @property
    def refusal_mend(self) -> str:
        """What to do about a request that was refused."""
        setting = self._place.setting
        if self._access.access_key:
            return f"check {setting}_ACCESS_KEY and {setting}_SECRET_KEY"
        if self._access.token:
            return f"set {setting}_TOKEN to a token that may do this"
        return f"set {setting}_USER and {setting}_PASSWORD to a user who may do this"

    async def _log_in(self) -> None:
        form = {"username": self._access.user, "password": self._access.password}
        for path in _LOGINS:
            try:
                answer = await self._http.request("POST", path, data=form)
            except UnreachableError:
                raise
            except SourceError as error:
                # Nacos 2 tells a wrong password by a status line that is none.
                raise self._refused("without a reason") from error
            if answer.status == 404 and path != _LOGINS[-1]:
                continue
            if answer.status != 200:
                raise self._refused(f"status {answer.status}")
            told = answer.json()
            told = told.get("data") or told if isinstance(told, dict) else {}
            token = told.get("accessToken")
            if not isinstance(token, str) or not token:
                raise self._refused("without a token")
            life = told.get("tokenTtl")
            seconds = float(life) if isinstance(life, int | float) else 0.0
            self._memory.token = token
            self._memory.fresh_until = self._clock() + seconds * (1 - _EARLY)
            return

    def _refused(self, said: str) -> SourceError:
        return SourceError(
            f"nacos at {self._place.url.shown} refuses the log-in of {self._access.user} ({said}); "
            f"check {self._place.setting}_USER and {self._place.setting}_PASSWORD"
        )


def _milliseconds() -> str:
    return str(time.time_ns() // 1_000_000)


def _signature(data: str, key: str) -> str:
    return base64.b64encode(hmac.digest(key.encode(), data.encode(), "sha1")).decode()
