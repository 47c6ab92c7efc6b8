"""gRPC calls over one HTTP/2 connection, on asyncio alone.

grpcio's own asyncio stack keeps threads and locks in C that do not survive a fork: under a server that forks its
workers, processes hung or were aborted. Here everything ends with the loop, so a forked process begins anew.
Source: grpc.github.io, "gRPC over HTTP2"; RFC 9113.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote

from graymw.errors import MissingExtraError, SourceError

if TYPE_CHECKING:
    import h2.connection

MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Longest message that is read, in bytes."""

_WINDOW: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024
_PREFIX: Final = struct.Struct("!?I")


class GrpcError(SourceError):
    """The server answered a call with another status than 0.

    Args:
        status: ``grpc-status``; -1 where the answer is not gRPC at all.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoHttp2Error(SourceError):
    """Nobody who speaks HTTP/2 listens there; the call was not made."""


def is_installed() -> bool:
    """Whether the library for HTTP/2 is there."""
    try:
        import h2.connection  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


class GrpcConnection:
    """One connection; to be opened and used in one event loop.

    Attributes:
        lost: Done as soon as the connection is of no more use; its result says why.
        local_address: Our own address, as the server sees it where nothing stands between.
    """

    def __init__(self, where: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, secure: bool) -> None:
        import h2.config  # noqa: PLC0415 - only where something is pushed
        import h2.connection  # noqa: PLC0415

        self._where = where
        self._reader = reader
        self._writer = writer
        self._secure = secure
        self._h2: h2.connection.H2Connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_inbound_headers=False)
        )
        self._calls: dict[int, _Call] = {}
        self._room = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.local_address: str = (writer.get_extra_info("sockname") or ("",))[0]

    @classmethod
    async def open(cls, host: str, port: int, *, tls: ssl.SSLContext | None, seconds: float) -> Self:
        """Connect.

        Args:
            tls: How the server is checked; None: no TLS.
            seconds: How long that may take.

        Raises:
            MissingExtraError: The library for HTTP/2 is not installed.
            NoHttp2Error: Nobody who speaks HTTP/2 can be reached there.
        """
        if not is_installed():
            raise MissingExtraError("h2", "nacos")
        where = f"nacos at {host}:{port} (gRPC)"
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=_WINDOW)
        except (OSError, TimeoutError) as error:
            told = str(error) or "no connection in time"
            raise NoHttp2Error(f"{where} cannot be reached ({told}); check the address, and that it runs") from error
        connection = cls(where, reader, writer, secure=tls is not None)
        await connection._begin()
        return connection

    async def unary(self, path: str, message: bytes, *, seconds: float) -> bytes:
        """Make a call with one message and one answer.

        Args:
            seconds: How long the answer may take.

        Raises:
            SourceError: There is no answer.
            GrpcError: The server refuses the call.
        """
        call = await self._call(path)
        try:
            async with asyncio.timeout(seconds):
                await call.send(message, end=True)
                return await call.receive()
        except TimeoutError:
            raise SourceError(f"{self._where} did not answer in time; check that it is well") from None
        finally:
            await call.close()

    async def duplex(self, path: str) -> Duplex:
        """Make a call in which both sides send messages as they like."""
        return Duplex(await self._call(path))

    async def close(self) -> None:
        """Close the connection and end every call."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._lose("it was closed")
        self._writer.transport.abort()

    async def _begin(self) -> None:
        import h2.settings  # noqa: PLC0415

        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW})
        self._h2.increment_flow_control_window(_WINDOW)
        self._flush()
        self._task = asyncio.create_task(self._read())

    async def _call(self, path: str) -> _Call:
        if self.lost.done():
            raise SourceError(f"{self._where}: the connection is lost: {self.lost.result()}")
        identity = self._h2.get_next_available_stream_id()
        call = self._calls[identity] = _Call(self, identity)
        self._h2.send_headers(
            identity,
            [
                (":method", "POST"),
                (":scheme", "https" if self._secure else "http"),
                (":path", path),
                (":authority", "nacos"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", "graymw"),
            ],
        )
        self._flush()
        return call

    async def send(self, identity: int, data: bytes, *, end: bool) -> None:
        """Send data of a call as fast as the server takes it."""
        position = 0
        while position < len(data) or end:
            window = self._window(identity)
            while not window and position < len(data):
                async with self._room:
                    await self._room.wait()
                window = self._window(identity)
            chunk = data[position : position + window]
            position += len(chunk)
            last = end and position >= len(data)
            self._h2.send_data(identity, chunk, end_stream=last)
            self._flush()
            with self._told():
                await self._writer.drain()
            if last:
                return

    def _window(self, identity: int) -> int:
        if self.lost.done():
            raise SourceError(f"{self._where}: the connection is lost: {self.lost.result()}")
        from h2.exceptions import ProtocolError  # noqa: PLC0415

        try:
            return min(self._h2.local_flow_control_window(identity), self._h2.max_outbound_frame_size)
        except ProtocolError:
            raise SourceError(f"{self._where} has ended the call") from None

    async def forget(self, identity: int) -> None:
        """End a call, wherever it stands."""
        from h2.errors import ErrorCodes  # noqa: PLC0415
        from h2.exceptions import ProtocolError  # noqa: PLC0415

        if self._calls.pop(identity, None) is not None and not self.lost.done():
            with contextlib.suppress(ProtocolError):
                self._h2.reset_stream(identity, ErrorCodes.CANCEL)
                self._flush()

    async def _read(self) -> None:
        from h2.exceptions import ProtocolError  # noqa: PLC0415

        why = "the server closed it"
        try:
            while data := await self._reader.read(_CHUNK):
                for event in self._h2.receive_data(data):
                    await self._take(event)
                self._flush()
                if self.lost.done():
                    return
        except (OSError, ProtocolError) as error:
            why = str(error) or type(error).__name__
        finally:
            self._lose(why)
            async with self._room:
                self._room.notify_all()

    async def _take(self, event: Any) -> None:
        from h2 import events  # noqa: PLC0415

        call = self._calls.get(getattr(event, "stream_id", None) or 0)
        match event:
            case events.ResponseReceived() | events.TrailersReceived():
                if call is not None:
                    call.take_headers({str(name): str(value) for name, value in event.headers})
            case events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if call is not None:
                    call.take_data(event.data)
            case events.StreamEnded():
                self._ended(event.stream_id, None)
            case events.StreamReset():
                self._ended(event.stream_id, SourceError(f"{self._where} broke off the call (code {event.error_code})"))
            case events.ConnectionTerminated():
                self._lose("the server said goodbye")
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                async with self._room:
                    self._room.notify_all()

    def _ended(self, identity: int, error: SourceError | None) -> None:
        call = self._calls.pop(identity, None)
        if call is not None:
            call.take_end(error)

    def _lose(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_result(why)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.take_end(SourceError(f"{self._where}: the connection is lost: {why}"))

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._writer.is_closing():
            self._writer.write(data)

    @contextlib.contextmanager
    def _told(self) -> Any:
        try:
            yield
        except OSError as error:
            raise SourceError(f"{self._where} broke off the connection ({error})") from error

    @property
    def where(self) -> str:
        """The server, for people."""
        return self._where


class Duplex:
    """A call in which both sides send messages as they like."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    async def send(self, message: bytes) -> None:
        """Send a message.

        Raises:
            SourceError: The call has ended.
        """
        await self._call.send(message, end=False)

    async def messages(self) -> AsyncIterator[bytes]:
        """Messages as they come; ends where the server ends the call.

        Raises:
            SourceError: The call broke off.
        """
        while True:
            message = await self._call.receive_or_end()
            if message is None:
                return
            yield message

    async def close(self) -> None:
        """End the call."""
        await self._call.close()


class _Call:
    """One stream of the connection."""

    def __init__(self, connection: GrpcConnection, identity: int) -> None:
        self._connection = connection
        self._identity = identity
        self._buffer = bytearray()
        self._headers: dict[str, str] = {}
        self._arrived: asyncio.Queue[bytes | SourceError | None] = asyncio.Queue()
        self._sending = asyncio.Lock()

    async def send(self, message: bytes, *, end: bool) -> None:
        async with self._sending:
            await self._connection.send(self._identity, _PREFIX.pack(False, len(message)) + message, end=end)

    async def receive(self) -> bytes:
        message = await self.receive_or_end()
        if message is None:
            raise SourceError(f"{self._connection.where} ended the call without an answer")
        return message

    async def receive_or_end(self) -> bytes | None:
        arrived = await self._arrived.get()
        if isinstance(arrived, SourceError):
            raise arrived
        return arrived

    async def close(self) -> None:
        await self._connection.forget(self._identity)

    def take_headers(self, headers: dict[str, str]) -> None:
        self._headers |= headers

    def take_data(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _PREFIX.size:
            compressed, length = _PREFIX.unpack_from(self._buffer)
            if compressed or length > MAX_MESSAGE:
                told = "is compressed" if compressed else f"has {length} bytes"
                self._arrived.put_nowait(SourceError(f"a message of {self._connection.where} {told}"))
                self._buffer.clear()
                return
            end = _PREFIX.size + length
            if len(self._buffer) < end:
                return
            self._arrived.put_nowait(bytes(self._buffer[_PREFIX.size : end]))
            del self._buffer[:end]

    def take_end(self, error: SourceError | None) -> None:
        self._arrived.put_nowait(error or self._refusal())

    def _refusal(self) -> SourceError | None:
        status, code = self._headers.get(":status", "200"), self._headers.get("grpc-status", "0")
        if status == "200" and code == "0":
            return None
        told = unquote(self._headers.get("grpc-message", "")) or f"HTTP status {status}"
        number = int(code) if status == "200" and code.isdigit() else -1
        return GrpcError(f"{self._connection.where} refuses the call: {told} (gRPC status {code})", number)
