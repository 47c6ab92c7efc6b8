"""Our gRPC against grpcio's server."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import certificates
from serving import free_port

from graymw.errors import MissingExtraError, SourceError
from graymw.remote.nacos.http2 import GrpcConnection, GrpcError, NoHttp2Error

HOST = "127.0.0.1"
SECONDS = 10.0


class Handlers(grpc.GenericRpcHandler):
    """Echoes, refuses, or waits."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def service(self, details: Any) -> Any:
        return {
            "/t/echo": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
            "/t/refuse": grpc.unary_unary_rpc_method_handler(self._refuse),
            "/t/wait": grpc.unary_unary_rpc_method_handler(self._wait),
            "/t/chat": grpc.stream_stream_rpc_method_handler(self._chat),
            "/t/burst": grpc.stream_stream_rpc_method_handler(self._burst),
        }.get(details.method)

    def _refuse(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "nicht für dich")
        raise AssertionError

    def _wait(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        self.released.wait(SECONDS)
        return request

    def _chat(self, requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            if request == b"end":
                return
            yield request.upper()

    def _burst(self, requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        next(requests)
        yield from (b"%d" % number for number in range(1000))


@contextmanager
def serving(credentials: grpc.ServerCredentials | None = None) -> Iterator[tuple[int, grpc.Server]]:
    handlers, threads = Handlers(), ThreadPoolExecutor(8)
    big = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(threads, handlers=(handlers,), options=big)
    address = f"{HOST}:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield port, server
    finally:
        handlers.released.set()
        server.stop(0).wait()
        threads.shutdown()


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as (port, _):
        yield port


def run(port: int, steps: Callable[[GrpcConnection], Coroutine[object, object, None]]) -> None:
    async def connected() -> None:
        connection = await GrpcConnection.open(HOST, port, tls=None, seconds=SECONDS)
        try:
            async with asyncio.timeout(4 * SECONDS):
                await steps(connection)
        finally:
            await connection.close()
        assert connection.lost.done()

    asyncio.run(connected())


def test_many_calls_share_a_connection(port: int) -> None:
    async def steps(connection: GrpcConnection) -> None:
        sent = [b"%d" % number for number in range(50)]
        assert await asyncio.gather(*(connection.unary("/t/echo", each, seconds=SECONDS) for each in sent)) == sent
        assert connection.local_address == HOST

    run(port, steps)


@pytest.mark.parametrize("size", [0, 1, 65_535, 70_000, 5_000_000])
def test_messages_of_any_size_come_whole(port: int, size: int) -> None:
    async def steps(connection: GrpcConnection) -> None:
        message = bytes(range(256)) * (size // 256 + 1)
        assert await connection.unary("/t/echo", message[:size], seconds=SECONDS) == message[:size]

    run(port, steps)


def test_both_sides_talk_as_they_like(port: int) -> None:
    async def steps(connection: GrpcConnection) -> None:
        chat = await connection.duplex("/t/chat")
        messages = chat.messages()
        for word in (b"one", b"two"):
            await chat.send(word)
            assert await anext(messages) == word.upper()
        await chat.send(b"end")
        assert [message async for message in messages] == []

    run(port, steps)


def test_none_of_a_burst_is_lost(port: int) -> None:
    async def steps(connection: GrpcConnection) -> None:
        burst = await connection.duplex("/t/burst")
        await burst.send(b"")
        assert [message async for message in burst.messages()] == [b"%d" % number for number in range(1000)]

    run(port, steps)


def test_a_refusal_is_told_with_its_status(port: int) -> None:
    async def steps(connection: GrpcConnection) -> None:
        with pytest.raises(GrpcError, match="nicht für dich") as error:
            await connection.unary("/t/refuse", b"", seconds=SECONDS)
        assert error.value.status == grpc.StatusCode.PERMISSION_DENIED.value[0]
        with pytest.raises(GrpcError) as error:
            await connection.unary("/t/unknown", b"", seconds=SECONDS)
        assert error.value.status == grpc.StatusCode.UNIMPLEMENTED.value[0]
        assert await connection.unary("/t/echo", b"still", seconds=SECONDS) == b"still"

    run(port, steps)


def test_an_answer_that_does_not_come_ends_its_call_only(port: int) -> None:
    async def steps(connection: GrpcConnection) -> None:
        with pytest.raises(SourceError, match="did not answer in time"):
            await connection.unary("/t/wait", b"", seconds=0.05)
        assert await connection.unary("/t/echo", b"still", seconds=SECONDS) == b"still"

    run(port, steps)


def test_a_cancelled_call_ends_at_once(port: int) -> None:
    async def steps(connection: GrpcConnection) -> None:
        task = asyncio.create_task(connection.unary("/t/wait", b"", seconds=SECONDS))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await connection.unary("/t/echo", b"still", seconds=SECONDS) == b"still"

    run(port, steps)


def test_the_end_of_the_server_ends_every_call() -> None:
    with serving() as (port, server):

        async def steps(connection: GrpcConnection) -> None:
            chat = await connection.duplex("/t/chat")
            messages = chat.messages()
            await chat.send(b"one")
            assert await anext(messages) == b"ONE"
            server.stop(0)
            with pytest.raises(SourceError, match="nacos at"):
                await anext(messages)
            await connection.lost
            with pytest.raises(SourceError, match="the connection is lost"):
                await connection.unary("/t/echo", b"", seconds=SECONDS)

        run(port, steps)


def test_tls_is_checked(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    credentials = grpc.ssl_server_credentials([(made.key.read_bytes(), made.cert.read_bytes())])

    async def steps(port: int) -> None:
        trusting = ssl.create_default_context(cafile=str(made.ca))
        connection = await GrpcConnection.open(HOST, port, tls=trusting, seconds=SECONDS)
        assert await connection.unary("/t/echo", b"private", seconds=SECONDS) == b"private"
        await connection.close()
        with pytest.raises(NoHttp2Error, match="cannot be reached"):
            await GrpcConnection.open(HOST, port, tls=ssl.create_default_context(), seconds=SECONDS)

    with serving(credentials) as (port, _):
        asyncio.run(steps(port))


def test_where_nobody_listens_it_is_told() -> None:
    with pytest.raises(NoHttp2Error, match="check the address, and that it runs"):
        asyncio.run(GrpcConnection.open(HOST, free_port(), tls=None, seconds=SECONDS))


def test_who_says_nothing_is_not_waited_for_forever() -> None:
    async def steps() -> None:
        with socket.create_server((HOST, 0)) as silent:
            connection = await GrpcConnection.open(HOST, silent.getsockname()[1], tls=None, seconds=SECONDS)
            with pytest.raises(SourceError, match="in time"):
                await connection.unary("/t/echo", b"", seconds=0.05)
            await connection.close()

    asyncio.run(steps())


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", bytes(100)])
def test_what_speaks_no_http2_is_told(said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(said)
        await writer.drain()
        writer.close()

    async def steps() -> None:
        server = await asyncio.start_server(answer, HOST, 0)
        connection = await GrpcConnection.open(HOST, server.sockets[0].getsockname()[1], tls=None, seconds=SECONDS)
        with pytest.raises(SourceError, match="nacos at"):
            await connection.unary("/t/echo", b"", seconds=SECONDS)
        await connection.close()
        server.close()
        await server.wait_closed()

    asyncio.run(steps())


def test_without_the_library_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2.connection", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'graymw\[nacos\]'"):
        asyncio.run(GrpcConnection.open(HOST, 1, tls=None, seconds=SECONDS))
