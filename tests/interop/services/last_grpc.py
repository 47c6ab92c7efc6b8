"""The last hop, by gRPC: it inherits."""

from __future__ import annotations

import json
import os
import sys
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from said import known

from graymw.grpc import GrayServerInterceptor


class Noting(grpc.ServerInterceptor):
    """Keeps the metadata as it came: the application is shown what is trusted of it. For one call at a time."""

    received = ""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        self.received = ",".join(value for key, value in details.invocation_metadata if key == "baggage")
        return continuation(details)


noting = Noting()


def answer(_: bytes, __: grpc.ServicerContext) -> bytes:
    said = {**known(noting.received), "served": os.environ["GRAYMW_VERSION"]}
    return bytes(StringValue(value=json.dumps(said)).SerializeToString())


if __name__ == "__main__":
    methods = {"Answer": grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(futures.ThreadPoolExecutor(4), interceptors=[noting, GrayServerInterceptor()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("interop.Hop", methods),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()
