"""The last hop, by gRPC: it inherits."""

from __future__ import annotations

import json
import os
import sys
from concurrent import futures

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from said import known

from graymw.grpc import GrayServerInterceptor


def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
    received = ",".join(value for key, value in context.invocation_metadata() if key == "baggage")
    said = {**known(received), "served": os.environ["GRAYMW_VERSION"]}
    return bytes(StringValue(value=json.dumps(said)).SerializeToString())


if __name__ == "__main__":
    methods = {"Answer": grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(futures.ThreadPoolExecutor(4), interceptors=[GrayServerInterceptor()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("interop.Hop", methods),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()
