"""The one line in FastAPI, Starlette, Flask and Django, served by uvicorn on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import websockets
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from flask import Flask, Response
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import graymw
from tests.chain.servers import free_port, serving_asgi, serving_wsgi, wait

GRAY = {"x-gray-version": "true"}


def seen() -> str:
    return str(graymw.current().version())


@pytest.fixture
def fastapi_app(settings: dict[str, object]) -> FastAPI:
    app = FastAPI()
    app.state.background = []
    pool = ThreadPoolExecutor(2)
    carrying = graymw.GrayThreadPoolExecutor(2)

    @app.get("/async")
    async def in_async() -> str:
        return seen()

    @app.get("/sync")
    def in_sync() -> str:
        return seen()

    @app.post("/upload")
    async def upload(request: Request) -> str:
        """Reads slowly, so that uvicorn's flow control stops reading and resumes within this request's context."""
        async for _ in request.stream():
            await asyncio.sleep(0.001)
        return seen()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            for _ in range(3):
                await asyncio.sleep(0)
                yield seen() + " "

        return StreamingResponse(chunks())

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> None:
        tasks.add_task(lambda: app.state.background.append(seen()))

    @app.get("/tasks")
    async def tasks() -> list[str]:
        async def one() -> str:
            await asyncio.sleep(0)
            return seen()

        return [*await asyncio.gather(one(), one()), await asyncio.create_task(one()), await asyncio.to_thread(seen)]

    @app.get("/threads")
    async def threads() -> list[str]:
        loop = asyncio.get_running_loop()
        got: list[str] = []
        thread = graymw.GrayThread(target=lambda: got.append(seen()))
        thread.start()
        thread.join()
        return [
            *got,
            await loop.run_in_executor(pool, graymw.carry(seen)),
            await loop.run_in_executor(carrying, seen),
            await loop.run_in_executor(pool, seen),
        ]

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        async for _ in socket.iter_text():
            await socket.send_text(seen())

    return graymw.install(app, settings=settings)


@pytest.fixture(params=["asyncio", "uvloop"])
def fastapi_url(fastapi_app: FastAPI, request: pytest.FixtureRequest) -> Iterator[str]:
    port = free_port()
    with serving_asgi(fastapi_app, port, loop=request.param):
        yield f"http://127.0.0.1:{port}"


class TestFastAPI:
    @pytest.mark.parametrize("path", ["/async", "/sync"])
    def test_handlers_see_their_requests_context(self, fastapi_url: str, path: str) -> None:
        assert httpx.get(fastapi_url + path, headers=GRAY).json() == "v2"
        assert httpx.get(fastapi_url + path).json() == "v1"

    def test_streamed_bodies(self, fastapi_url: str) -> None:
        assert httpx.get(fastapi_url + "/stream", headers=GRAY).text.split() == ["v2"] * 3

    def test_background_tasks(self, fastapi_url: str, fastapi_app: FastAPI) -> None:
        with httpx.Client() as client:
            client.get(fastapi_url + "/background", headers=GRAY)
            client.get(fastapi_url + "/async")
        wait(lambda: fastapi_app.state.background)
        assert fastapi_app.state.background == ["v2"]

    def test_tasks_and_gather(self, fastapi_url: str) -> None:
        assert httpx.get(fastapi_url + "/tasks", headers=GRAY).json() == ["v2"] * 4

    def test_threads_and_executors_of_the_helper_carry_and_bare_ones_have_nothing(self, fastapi_url: str) -> None:
        assert httpx.get(fastapi_url + "/threads", headers=GRAY).json() == ["v2", "v2", "v2", "None"]

    def test_a_large_body_on_a_kept_connection_leaves_nothing_to_the_next_request(self, fastapi_url: str) -> None:
        host, port = fastapi_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            reader = connection.makefile("rb")
            for _ in range(3):
                body = b"x" * 1_000_000
                head = (
                    f"POST /upload HTTP/1.1\r\nHost: a\r\nX-Gray-Version: true\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                connection.sendall(head.encode() + body)
                assert _answer(reader) == "v2"
                connection.sendall(b"GET /async HTTP/1.1\r\nHost: a\r\n\r\n")
                assert _answer(reader) == "v1"

    def test_each_websocket_keeps_the_context_of_its_handshake(self, fastapi_url: str) -> None:
        async def talk(headers: dict[str, str]) -> list[str | bytes]:
            url = fastapi_url.replace("http", "ws") + "/ws"
            async with websockets.connect(url, additional_headers=headers) as connection:
                answers = []
                for _ in range(3):
                    await connection.send("?")
                    answers.append(await connection.recv())
                return answers

        async def both() -> Any:
            return await asyncio.gather(talk(GRAY), talk({}))

        assert asyncio.run(both()) == [["v2"] * 3, ["v1"] * 3]

    def test_ten_thousand_interleaved_requests_mix_up_nothing(self, settings: dict[str, object]) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            first = seen()
            await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": f"{first} {seen()}".encode()})

        installed = graymw.install(app, settings=settings)

        async def one(uid: int) -> bool:
            transport = _Direct(installed)
            return await transport.ask(uid) == (["v2", "v2"] if uid % 10 == 0 else ["v1", "v1"])

        async def all_of_them() -> bool:
            return all(await asyncio.gather(*(one(uid) for uid in range(10_000))))

        assert asyncio.run(all_of_them())


class _Direct:
    """Calls an ASGI application without a socket, so that ten thousand are in flight at once."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def ask(self, uid: int) -> list[str]:
        body: list[bytes] = []

        async def send(message: Any) -> None:
            await asyncio.sleep(0)
            body.append(message.get("body", b""))

        scope = {
            "type": "http", "method": "GET", "path": "/", "query_string": b"", "client": ("127.0.0.1", 1),
            "headers": [(b"x-user-id", str(uid).encode())],
        }  # fmt: skip
        await self.app(scope, None, send)
        return b"".join(body).decode().split()


def _answer(reader: Any) -> str:
    status = reader.readline()
    assert status.startswith(b"HTTP/1.1 200"), status
    length = 0
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return str(json.loads(reader.read(length)))


class TestStarlette:
    def test_a_mounted_application_with_its_own_line_decides_nothing_again(self, settings: dict[str, object]) -> None:
        async def index(request: Any) -> JSONResponse:
            return JSONResponse([seen(), request.headers.getlist("baggage")])

        inner = graymw.install(Starlette(routes=[Route("/", index)]), settings=settings)
        outer = graymw.install(Starlette(routes=[Mount("/in", inner)]), settings=settings)
        version, baggage = TestClient(outer).get("/in/", headers=GRAY).json()
        assert version == "v2"
        assert len(baggage) == 1

    def test_the_test_client_counts_as_inside(self, settings: dict[str, object]) -> None:
        async def index(_: Any) -> JSONResponse:
            return JSONResponse(seen())

        client = TestClient(graymw.install(Starlette(routes=[Route("/", index)]), settings=settings))
        assert client.get("/", headers={"baggage": "gray.checkout=v2"}).json() == "v2"

    def test_middlewares_added_later_still_run_inside(self, settings: dict[str, object]) -> None:
        order: list[str] = []

        class Later:
            def __init__(self, app: Any) -> None:
                self.app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                order.append(seen())
                await self.app(scope, receive, send)

        async def index(_: Any) -> JSONResponse:
            return JSONResponse(seen())

        app = graymw.install(Starlette(routes=[Route("/", index)]), settings=settings)
        app.add_middleware(Later)
        TestClient(app).get("/", headers=GRAY)
        assert order == ["v2"]

    def test_install_after_the_start_says_where_it_belongs(self, settings: dict[str, object], caplog: Any) -> None:
        app = Starlette()
        TestClient(app).get("/")
        assert graymw.install(app, settings=settings) is app
        assert "call graymw.install(app) where it is made" in caplog.text

    def test_add_middleware_is_the_frameworks_own_way(self, settings: dict[str, object]) -> None:
        async def index(_: Any) -> JSONResponse:
            return JSONResponse(seen())

        app = Starlette(routes=[Route("/", index)])
        app.add_middleware(graymw.GrayMiddleware, settings=settings)
        assert TestClient(app).get("/", headers=GRAY).json() == "v2"


@pytest.fixture
def flask_app(settings: dict[str, object]) -> Flask:
    app = Flask("orders")

    @app.get("/")
    def index() -> str:
        return seen()

    @app.get("/stream")
    def stream() -> Response:
        return Response(seen() + " " for _ in range(3))

    @app.get("/refused")
    def refused() -> str:
        raise graymw.GrayUnavailableError("payments", "v2")

    return graymw.install(app, settings=settings)


class TestFlask:
    def test_handlers_and_streamed_bodies_see_their_requests_context(self, flask_app: Flask) -> None:
        port = free_port()
        with serving_wsgi(flask_app, port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/", headers=GRAY).text == "v2"
            assert client.get("/stream", headers=GRAY).text.split() == ["v2"] * 3
            assert client.get("/").text == "v1"

    def test_a_refused_call_answers_503(self, flask_app: Flask) -> None:
        answer = flask_app.test_client().get("/refused")
        assert answer.status_code == 503
        assert answer.json == {"error": "gray_unavailable", "service": "payments", "version": "v2"}

    def test_installed_twice_wraps_once(self, flask_app: Flask, settings: dict[str, object]) -> None:
        wrapped = flask_app.wsgi_app
        graymw.install(flask_app, settings=settings)
        assert flask_app.wsgi_app is wrapped

    def test_the_frameworks_own_way(self, settings: dict[str, object]) -> None:
        app = Flask("orders")
        app.add_url_rule("/", view_func=seen)
        app.wsgi_app = graymw.GrayWSGIMiddleware(app.wsgi_app, settings=settings)  # type: ignore[method-assign]
        assert app.test_client().get("/", headers=GRAY).text == "v2"

    def test_the_test_clients_preserved_context_works(self, flask_app: Flask) -> None:
        from flask import request

        with flask_app.test_client() as client:
            client.get("/", headers=GRAY)
            assert request.headers["x-gray-version"] == "true"


def test_a_plain_thread_loses_the_context_unless_opentelemetrys_instrumentation_carries_it(
    settings: dict[str, object],
) -> None:
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor

    got: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        thread = threading.Thread(target=lambda: got.append(seen()))
        thread.start()
        thread.join()

    installed = graymw.install(app, settings=settings)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-gray-version", b"true")], "client": None}
    asyncio.run(installed(dict(scope), None, None))
    ThreadingInstrumentor().instrument()
    try:
        asyncio.run(installed(dict(scope), None, None))
    finally:
        ThreadingInstrumentor().uninstrument()
    assert got == ["None", "v2"]
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.parametrize("kind", [FastAPI, Starlette, Flask])
def test_a_class_in_the_place_of_its_instance_is_refused_with_the_mend(kind: type) -> None:
    with pytest.raises(graymw.GrayError, match=rf"not the class {kind.__name__}: .* {kind.__name__}\(…\)"):
        graymw.install(kind)


def test_an_endpoint_class_is_an_application(settings: dict[str, object]) -> None:
    class Home(HTTPEndpoint):
        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse(seen())

    app: Any = graymw.install(Home, settings=settings)
    assert TestClient(app).get("/", headers=GRAY).text == "v2"
