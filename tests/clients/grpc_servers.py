"""A real gRPC server that tells what arrived, for all four kinds of calls."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
SERVICE = "shop.Orders"


@dataclass
class Shop:
    """A server and the metadata of the calls it got."""

    name: str
    port: int = 0
    arrived: list[list[tuple[str, Any]]] = field(default_factory=list)
    authorities: list[str] = field(default_factory=list)

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def only(self) -> Any:
        assert len(self.arrived) == 1, f"{self.name} got {len(self.arrived)} calls"
        return Sent(self.arrived[0])


@dataclass(frozen=True)
class Sent:
    metadata: list[tuple[str, Any]]

    def all(self, name: str) -> list[Any]:
        return [value for key, value in self.metadata if key == name]

    def one(self, name: str) -> Any:
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


def method(kind: str) -> str:
    return f"/{SERVICE}/{kind}"


@contextmanager
def shop(name: str, certificate: Path | None = None) -> Iterator[Shop]:
    told = Shop(name)

    def note(context: grpc.ServicerContext) -> None:
        told.arrived.append([(key, value) for key, value in context.invocation_metadata()])
        told.authorities.append(context._rpc_event.call_details.host.decode())

    def unary_unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        note(context)
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
        return name.encode() + request

    def unary_stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        note(context)
        yield name.encode()
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
        yield request

    def stream_unary(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        note(context)
        body = b"".join(requests)
        if body == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
        return name.encode() + body

    def stream_stream(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        note(context)
        yield name.encode()
        for request in requests:
            if request == b"fail":
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
            yield request

    handlers = {
        behaviour.__name__: getattr(grpc, f"{behaviour.__name__}_rpc_method_handler")(behaviour)
        for behaviour in (unary_unary, unary_stream, stream_unary, stream_stream)
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if certificate is None:
        told.port = server.add_insecure_port("127.0.0.1:0")
    else:
        pem = certificate.read_bytes()
        told.port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem, pem)]))
    server.start()
    try:
        yield told
    finally:
        server.stop(None).wait(5)
