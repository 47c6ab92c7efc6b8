"""FastAPI → Flask → Starlette → gRPC over real sockets: one decision for all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack
from typing import Any

import grpc
import httpx
import pytest
import requests
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import graymw
from graymw.grpc import GrayServerInterceptor

from .servers import free_port, serving_asgi, serving_wsgi

RULES = """
schema: 1
releases:
  checkout:
    services: [orders, stock, ledger]
    stable: v1
    rules:
      - {name: testers, match: {header: {x-gray-version: "true"}}, use: v2}
      - {name: even-uids, when: uid % 10 == 0, use: v2}
      - {name: canary, split: {v2: 30%}}
"""


def edge_app(settings: dict[str, Any]) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def index() -> Any:
        async with httpx.AsyncClient() as client:
            inner = (await client.get("http://orders/")).json()
        return [str(graymw.current().version()), *inner]

    return graymw.install(app, settings=settings)


def orders_app(settings: dict[str, Any]) -> Flask:
    app = Flask("orders")

    @app.get("/")
    def index() -> Any:
        return [settings["version"], *requests.get("http://stock/", timeout=5).json()]

    return graymw.install(app, settings=settings)


def stock_app(settings: dict[str, Any]) -> Starlette:
    async def index(_: Any) -> JSONResponse:
        async with grpc.aio.insecure_channel("ledger") as channel:
            answer = await channel.unary_unary("/ledger.Ledger/Get")(b"")
        return JSONResponse([settings["version"], answer.decode()])

    return graymw.install(Starlette(routes=[Route("/", index)]), settings=settings)


def ledger_server(settings: dict[str, Any], port: int) -> grpc.Server:
    def get(_: bytes, __: Any) -> bytes:
        return f"{settings['version']}/{graymw.current().version()}".encode()

    handler = grpc.method_handlers_generic_handler("ledger.Ledger", {"Get": grpc.unary_unary_rpc_method_handler(get)})
    server = grpc.server(futures.ThreadPoolExecutor(4), interceptors=[GrayServerInterceptor(settings=settings)])
    server.add_generic_rpc_handlers((handler,))
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    return server


@pytest.fixture(scope="module")
def _ports() -> dict[tuple[str, str], int]:
    return {(name, version): free_port() for name in ("orders", "stock", "ledger") for version in ("v1", "v2")}


@pytest.fixture
def edge(_ports: dict[tuple[str, str], int], tmp_path: Any) -> Iterator[str]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    table: dict[str, list[dict[str, str]]] = {}
    for (name, version), port in _ports.items():
        table.setdefault(name, []).append({"url": f"http://127.0.0.1:{port}", "version": version})

    def settings(service: str, version: str = "") -> dict[str, Any]:
        return {"service": service, "version": version, "rules": str(rules), "services": table}

    edge_port = free_port()
    with ExitStack() as stack:
        for version in ("v1", "v2"):
            stack.enter_context(serving_wsgi(orders_app(settings("orders", version)), _ports["orders", version]))
            stack.enter_context(serving_asgi(stock_app(settings("stock", version)), _ports["stock", version]))
            server = ledger_server(settings("ledger", version), _ports["ledger", version])
            server.start()
            stack.callback(lambda server=server: server.stop(None).wait(5))
        stack.enter_context(serving_asgi(edge_app(settings("edge")), edge_port))
        yield f"http://127.0.0.1:{edge_port}"


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"x-gray-version": "true"}, "v2"),
        ({"x-user-id": "40"}, "v2"),
        ({"x-user-id": "41"}, "v1" if graymw.bucket("checkout", "41") >= 3000 else "v2"),
        ({"x-gray-version": "true", "x-user-id": "41"}, "v2"),
    ],
)
def test_every_hop_serves_the_version_that_the_first_decided(edge: str, headers: dict[str, str], version: str) -> None:
    assert httpx.get(edge, headers=headers).json() == [version, version, version, f"{version}/{version}"]


def test_hops_agree_for_every_user_and_the_split_is_the_bucket(edge: str) -> None:
    with httpx.Client() as client:
        for uid in range(101, 160):
            answer = client.get(edge, headers={"x-user-id": str(uid)}).json()
            gray = uid % 10 == 0 or graymw.bucket("checkout", str(uid)) < 3000
            version = "v2" if gray else "v1"
            assert answer == [version, version, version, f"{version}/{version}"], uid
