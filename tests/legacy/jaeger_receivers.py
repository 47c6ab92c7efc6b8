"""What Jaeger's agent and collector took before OTLP, on loopback: compact thrift over UDP, binary thrift over HTTP."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.exporter.jaeger.thrift.gen.agent import Agent
from opentelemetry.exporter.jaeger.thrift.gen.jaeger import ttypes
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TTransport import TMemoryBuffer

LARGEST_DATAGRAM = 65_535
PATH = "/api/traces"


class Received:
    """Batches as they were sent."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.batches: list[Any] = []

    @property
    def spans(self) -> list[Any]:
        return [span for batch in self.batches for span in batch.spans]

    @property
    def services(self) -> set[str]:
        return {batch.process.serviceName for batch in self.batches}


def tags(span: Any) -> dict[str, Any]:
    """Tags of a Jaeger span, by key."""
    fields = {
        ttypes.TagType.STRING: "vStr",
        ttypes.TagType.BOOL: "vBool",
        ttypes.TagType.LONG: "vLong",
        ttypes.TagType.DOUBLE: "vDouble",
        ttypes.TagType.BINARY: "vBinary",
    }
    return {tag.key: getattr(tag, fields[tag.vType]) for tag in span.tags}


@contextmanager
def agent() -> Iterator[Received]:
    """Takes ``Agent.emitBatch`` in datagrams; ``address`` is its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        received = Received(str(endpoint.getsockname()[1]))

        def listen() -> None:
            while datagram := endpoint.recv(LARGEST_DATAGRAM):
                protocol = TCompactProtocol(TMemoryBuffer(datagram))
                name, _, _ = protocol.readMessageBegin()
                assert name == "emitBatch"
                call = Agent.emitBatch_args()
                call.read(protocol)
                received.batches.append(call.batch)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield received
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
                stop.sendto(b"", endpoint.getsockname())
            thread.join()


@contextmanager
def collector(status: int = 202) -> Iterator[Received]:
    """Takes batches by POST and answers with a status; ``address`` is its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == PATH
            assert self.headers["content-type"] == "application/x-thrift"
            batch = ttypes.Batch()
            batch.read(TBinaryProtocol(TMemoryBuffer(body)))
            received.batches.append(batch)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Received(f"http://127.0.0.1:{server.server_address[1]}{PATH}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()
