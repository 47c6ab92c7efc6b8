"""A connection to Nacos that it pushes over: set-up, requests, acknowledged pushes, the sign of life.

Facts: ``api/src/main/java/com/alibaba/nacos/api/remote`` and ``…/naming/remote``, ``…/config/remote`` of Nacos, held
against Nacos 2.2.4 and 3.1.0.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self, TypeAlias

from graymw.errors import SourceError
from graymw.remote.nacos.credentials import Credentials
from graymw.remote.nacos.http2 import Duplex, GrpcConnection
from graymw.remote.nacos.payload import Payload, decode, encode

Module: TypeAlias = Literal["naming", "config"]
Push: TypeAlias = Callable[[Mapping[str, Any]], None]

CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 5.0
ALIVE_SECONDS: Final = 5.0
"""How often each side makes sure of the other; after 20 s of silence the server asks, and lets go."""

UNREGISTERED: Final = 301
FORBIDDEN: Final = 403
CONFIG_NOT_FOUND: Final = 300

RESET: Final = "the server asks to connect anew"
"""Why a connection is lost that a server only wants to see somewhere else."""

_UNARY: Final = "/Request/request"
_STREAM: Final = "/BiRequestStream/requestBiStream"
_SETTLING: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Waits until a server that does not tell when it has taken us in has done so."""


class NacosError(SourceError):
    """The server refused a request.

    Args:
        error_code: ``errorCode``, or ``resultCode`` without one.
    """

    def __init__(self, message: str, error_code: int) -> None:
        super().__init__(message)
        self.error_code = error_code


class NacosConnection:
    """One connection; to be opened and used in one event loop.

    Attributes:
        lost: Done as soon as nothing more can come over it; its result says why.
    """

    def __init__(self, grpc: GrpcConnection, stream: Duplex, credentials: Credentials, module: Module) -> None:
        self._grpc = grpc
        self._stream = stream
        self._credentials = credentials
        self._module = module
        self._handlers: dict[str, list[Push]] = {}
        self._numbers = itertools.count(1)
        self._set_up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(
        cls, host: str, port: int, *, tls: ssl.SSLContext | None, credentials: Credentials, module: Module, tenant: str
    ) -> Self:
        """Connect, and wait until the server takes requests.

        Args:
            module: What the connection is for; a server keeps instances and subscriptions only for ``naming``.
            tenant: The namespace.

        Raises:
            MissingExtraError: The library for HTTP/2 is not installed.
            NoHttp2Error: Nobody who speaks HTTP/2 can be reached there.
            SourceError: What is there is no Nacos, or does not answer.
        """
        grpc = await GrpcConnection.open(host, port, tls=tls, seconds=CONNECT_SECONDS)
        try:
            stream = await grpc.duplex(_STREAM)
            connection = cls(grpc, stream, credentials, module)
            try:
                await connection._introduce(tenant)
            except BaseException:
                await connection.close()
                raise
        except BaseException:
            await grpc.close()
            raise
        return connection

    def on(self, push: str, handler: Push) -> Callable[[], None]:
        """Hand pushes of a type to a handler; returns what ends that."""
        handlers = self._handlers.setdefault(push, [])
        handlers.append(handler)
        return lambda: handlers.remove(handler)

    async def request(
        self, kind: str, body: Mapping[str, Any], signed: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        """Ask something.

        Args:
            kind: Type of the request.
            signed: Signature by an access key.

        Raises:
            NacosError: The server refuses.
            SourceError: There is no answer.
        """
        headers = await self._credentials.grpc_headers(signed or {})
        try:
            return await self._ask(kind, body, headers)
        except NacosError as error:
            if error.error_code == UNREGISTERED:
                self._lose("the server does not know the connection")
            if error.error_code != FORBIDDEN or not self._credentials.forget(headers.get("accessToken", "")):
                raise
        return await self._ask(kind, body, await self._credentials.grpc_headers(signed or {}))

    async def close(self) -> None:
        """Close the connection; what hangs on it at the server goes with it."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._lose("it was closed")
        await self._grpc.close()

    async def _introduce(self, tenant: str) -> None:
        greeting = await self._ask("ServerCheckRequest", {}, {})
        negotiates = bool(greeting.get("supportAbilityNegotiation"))
        setup = {
            "clientVersion": "Nacos-Python-Client:graymw",
            "tenant": tenant,
            "labels": {"source": "sdk", "module": self._module, "AppName": "graymw"},
            "abilityTable": {} if negotiates else None,
        }
        await self._stream.send(self._packed("ConnectionSetupRequest", setup, {}))
        self._tasks = [asyncio.create_task(self._listen())]
        if negotiates:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._set_up.wait()
            except TimeoutError:
                raise SourceError(f"{self._grpc.where} did not set the connection up in time") from None
        else:
            await self._settled()
        self._tasks.append(asyncio.create_task(self._stay_alive()))

    async def _settled(self) -> None:
        """Wait until a server of before Nacos 3 knows the connection, which it does not tell."""
        for wait in _SETTLING:
            try:
                await self._ask("HealthCheckRequest", {}, {})
            except NacosError as error:
                if error.error_code != UNREGISTERED:
                    raise
                await asyncio.sleep(wait)
            else:
                return
        raise SourceError(f"{self._grpc.where} did not set the connection up in time")

    async def _ask(self, kind: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, Any]:
        body = {"requestId": str(next(self._numbers)), "module": self._module, **body}
        message = self._packed(kind, body, headers)
        answer = decode(await self._grpc.unary(_UNARY, message, seconds=ANSWER_SECONDS)).body
        if answer.get("resultCode") == 200:
            return answer
        code = answer.get("errorCode") or answer.get("resultCode") or 0
        told = " ".join(str(answer.get("message") or f"error {code}").split())
        if code == FORBIDDEN:
            told += f"; {self._credentials.refusal_mend}"
        raise NacosError(f"{self._grpc.where} refuses {kind}: {told}", int(code))

    def _packed(self, kind: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
        return encode(Payload(kind, body, headers, self._grpc.local_address))

    async def _listen(self) -> None:
        why = "the server ended it"
        try:
            async for message in self._stream.messages():
                push = decode(message)
                await self._acknowledge(push)
                self._take(push)
        except SourceError as error:
            why = str(error)
        self._lose(why)

    async def _acknowledge(self, push: Payload) -> None:
        if push.type.endswith("Request"):
            kind = f"{push.type.removesuffix('Request')}Response"
            body = {"resultCode": 200, "errorCode": 0, "requestId": push.body.get("requestId")}
            await self._stream.send(self._packed(kind, body, {}))

    def _take(self, push: Payload) -> None:
        if push.type == "SetupAckRequest":
            self._set_up.set()
        elif push.type == "ConnectResetRequest":
            self._lose(RESET)
        for handler in tuple(self._handlers.get(push.type, ())):
            handler(push.body)

    async def _stay_alive(self) -> None:
        while not self._grpc.lost.done():
            await asyncio.wait([self._grpc.lost], timeout=ALIVE_SECONDS)
            try:
                await self._ask("HealthCheckRequest", {}, {})
            except SourceError as error:
                self._lose(str(error))
                return

    def _lose(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_result(why)
