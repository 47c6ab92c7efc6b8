"""Each way in which work loses the context of its request is noticed; right ways, and work of no request, are not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from calling import ask_asgi, ask_wsgi
from opentelemetry import context as otel_context
from opentelemetry.context.context import Context
from opentelemetry.instrumentation.threading import ThreadingInstrumentor

import graymw
from graymw import bootstrap
from graymw.clients import handovers
from graymw.runtime import counters, outbound
from graymw.settings.schema import Settings

SETTINGS = {"service": "shop", "version": "v1", "gray_when": "true", "detect_lost_context": True}


def call(host: str = "orders") -> None:
    outbound.begin(method="GET", scheme="http", host=host, port=None, path="/stock")


async def call_later() -> None:
    await asyncio.sleep(0)
    call()


def lost() -> int:
    return counters.snapshot().get("lost_context", 0)


def uncarried() -> int:
    return counters.snapshot().get("outbound.uncarried", 0)


def requested(work: Callable[[], object], **settings: Any) -> None:
    """A gray WSGI request that does some work."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        assert graymw.current().version() == "v2"
        work()
        start_response("200 OK", [])
        return []

    ask_wsgi(graymw.install(app, settings={**SETTINGS, **settings}), "/", {})


async def arequested(work: Callable[[], Any]) -> None:
    """A gray ASGI request that does some work."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert graymw.current().version() == "v2"
        await work()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await ask_asgi(graymw.install(app, settings=SETTINGS), "/", {})


@pytest.fixture(autouse=True)
def uninstrumented() -> Iterator[None]:
    yield
    graymw.uninstrument()


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def otel_threading() -> Iterator[None]:
    instrumentor = ThreadingInstrumentor()
    instrumentor.instrument()
    yield
    bootstrap.shut_down()  # what wraps last is taken off first
    instrumentor.uninstrument()


def in_a_thread(work: Callable[[], object] = call, kind: Callable[..., threading.Thread] = threading.Thread) -> None:
    thread = kind(target=work)
    thread.start()
    thread.join()


class TestThreads:
    def test_a_plain_thread(self, caplog: pytest.LogCaptureFixture) -> None:
        requested(in_a_thread)
        requested(in_a_thread)
        assert lost() == 2
        (told,) = [message for message in caplog.messages if "lost the context" in message]
        assert f"the call to orders at {__file__}:" in told
        assert "in call has lost" in told
        assert f"the thread started at {__file__}:" in told
        assert "graymw.GrayThread" in told

    def test_a_timer(self) -> None:
        def later() -> None:
            timer = threading.Timer(0, call)
            timer.start()
            timer.join()

        requested(later)
        assert lost() == 1

    def test_a_thread_s_own_run(self) -> None:
        class Working(threading.Thread):
            def run(self) -> None:
                call()

        requested(lambda: in_a_thread(kind=lambda target: Working()))
        assert lost() == 1

    def test_a_thread_that_a_lost_one_started(self) -> None:
        requested(lambda: in_a_thread(in_a_thread))
        assert lost() == 1

    def test_a_generator_that_another_thread_iterates(self) -> None:
        def rows() -> Iterator[int]:
            call()
            yield 1
            call()

        def handed_over() -> None:
            generator = rows()
            next(generator)
            in_a_thread(lambda: list(generator))

        requested(handed_over)
        assert (lost(), uncarried()) == (1, 1)

    def test_not_what_carries(self, otel_threading: None) -> None:
        requested(lambda: in_a_thread(kind=graymw.GrayThread))
        requested(lambda: in_a_thread(graymw.carry(call)))
        requested(in_a_thread)
        assert (lost(), uncarried()) == (0, 0)

    def test_not_one_that_no_request_started(self) -> None:
        requested(lambda: None)
        in_a_thread()
        assert (lost(), uncarried()) == (0, 1)

    def test_not_a_call_to_a_host_that_is_told_nothing_anyway(self) -> None:
        requested(lambda: in_a_thread(lambda: call("api.example.com")))
        assert lost() == 0

    def test_not_one_that_a_library_started(self) -> None:
        namespace: dict[str, Any] = {"in_a_thread": threading.Thread, "call": call}
        source = "def begin():\n thread = in_a_thread(target=call)\n thread.start()\n thread.join()"
        exec(compile(source, "/x/site-packages/library.py", "exec"), namespace)
        requested(namespace["begin"])
        assert (lost(), uncarried()) == (0, 1)


class TestExecutors:
    def test_a_plain_pool(self, pool: concurrent.futures.ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
        requested(lambda: pool.submit(call).result())
        assert lost() == 1
        assert f"the work submitted at {__file__}:" in caplog.text
        assert "graymw.GrayThreadPoolExecutor" in caplog.text

    def test_a_pool_s_map(self, pool: concurrent.futures.ThreadPoolExecutor) -> None:
        requested(lambda: list(pool.map(call, ["orders", "payments"])))
        assert lost() == 2

    def test_not_what_carries(self, otel_threading: None, pool: concurrent.futures.ThreadPoolExecutor) -> None:
        with graymw.GrayThreadPoolExecutor(1) as ours:
            requested(lambda: ours.submit(call).result())
        requested(lambda: pool.submit(call).result())
        requested(lambda: pool.submit(graymw.carry(call)).result())
        assert (lost(), uncarried()) == (0, 0)

    def test_not_a_job_in_a_thread_that_worked_for_a_request_before(
        self, pool: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        requested(lambda: pool.submit(call).result())
        assert pool.submit(call).result() is None
        assert (lost(), uncarried()) == (1, 2)

    def test_a_loop_s_executor(self) -> None:
        async def work() -> None:
            await asyncio.get_running_loop().run_in_executor(None, call)

        asyncio.run(arequested(work))
        assert lost() == 1

    def test_not_to_thread(self) -> None:
        asyncio.run(arequested(lambda: asyncio.to_thread(call)))
        assert (lost(), uncarried()) == (0, 0)


class TestTasks:
    def test_a_task_with_a_context_of_its_own(self, caplog: pytest.LogCaptureFixture) -> None:
        context = contextvars.Context()

        async def work() -> None:
            await asyncio.create_task(call_later(), context=context)

        async def background() -> None:
            await asyncio.create_task(call_later(), context=context)

        async def run() -> None:
            await arequested(work)
            assert lost() == 1
            await asyncio.create_task(background(), context=contextvars.Context())

        asyncio.run(run())
        assert (lost(), uncarried()) == (1, 2)
        assert "leave context= out" in caplog.text

    def test_not_a_task_of_a_request(self) -> None:
        async def work() -> None:
            await asyncio.create_task(call_later())
            await asyncio.create_task(call_later(), context=contextvars.copy_context())

        asyncio.run(arequested(work))
        assert (lost(), uncarried()) == (0, 0)


class TestWhatIsOlderThanTheRequest:
    async def _with_a_worker(self, put: Callable[[asyncio.Queue[Any]], None]) -> None:
        waiting: asyncio.Queue[Any] = asyncio.Queue()

        async def worker() -> None:
            while True:
                job = await waiting.get()
                await job()
                waiting.task_done()

        task = asyncio.create_task(worker())
        await asyncio.sleep(0)

        async def work() -> None:
            put(waiting)
            await waiting.join()

        await arequested(work)
        await waiting.put(call_later)
        await waiting.join()
        task.cancel()

    def test_a_task_fed_by_a_queue(self, caplog: pytest.LogCaptureFixture) -> None:
        asyncio.run(self._with_a_worker(lambda waiting: waiting.put_nowait(call_later)))
        assert (lost(), uncarried()) == (1, 2)
        assert f"what was put into a queue at {__file__}:" in caplog.text

    def test_an_asynchronous_generator_that_it_iterates(self) -> None:
        async def rows() -> AsyncIterator[int]:
            await call_later()
            yield 1

        async def iterate(generator: AsyncIterator[int]) -> None:
            assert [row async for row in generator] == [1]

        asyncio.run(self._with_a_worker(lambda waiting: waiting.put_nowait(partial(iterate, rows()))))
        assert lost() == 1

    def test_not_what_carries(self) -> None:
        asyncio.run(self._with_a_worker(lambda waiting: waiting.put_nowait(graymw.carry(call_later))))
        assert (lost(), uncarried()) == (0, 1)

    def test_a_thread_fed_by_a_queue(self) -> None:
        waiting: queue.Queue[Callable[[], None] | None] = queue.Queue()

        def worker() -> None:
            while (job := waiting.get()) is not None:
                job()
                waiting.task_done()

        requested(lambda: None)  # watched from here on; a get that has begun already is not
        thread = threading.Thread(target=worker)
        thread.start()

        def work() -> None:
            waiting.put(call)
            waiting.put(graymw.carry(call))
            waiting.join()

        requested(work)
        waiting.put(call)
        waiting.put(None)
        thread.join()
        assert (lost(), uncarried()) == (1, 2)

    def test_not_a_library_s_pool_of_connections(self) -> None:
        connections: queue.LifoQueue[object] = queue.LifoQueue()
        namespace: dict[str, Any] = {"connections": connections}
        source = "def give():\n connections.put('one')\ndef take():\n return connections.get()"
        exec(compile(source, "/x/site-packages/library.py", "exec"), namespace)
        requested(namespace["give"])

        def job() -> None:
            namespace["take"]()
            call()

        in_a_thread(job)
        assert (lost(), uncarried()) == (0, 1)

    def test_an_item_that_found_no_room_is_forgotten(self) -> None:
        waiting: queue.Queue[int] = queue.Queue(1)
        item = 4711_4711

        def work() -> None:
            waiting.put_nowait(0)
            with pytest.raises(queue.Full):
                waiting.put_nowait(item)

        requested(work)
        assert list(vars(waiting)[handovers._MARKS]) == [id(0)]


class TestWithoutWatching:
    def test_a_replaced_opentelemetry_context_is_noticed_all_the_same(self, caplog: pytest.LogCaptureFixture) -> None:
        def work() -> None:
            token = otel_context.attach(Context())
            call()
            otel_context.detach(token)

        requested(work, detect_lost_context=False)
        assert lost() == 1
        assert "another OpenTelemetry context was attached" in caplog.text

    def test_threads_are_counted_as_calls_without_context_only(self) -> None:
        requested(in_a_thread, detect_lost_context=False)
        assert (lost(), uncarried()) == (0, 1)

    def test_nothing_is_replaced(self) -> None:
        before = threading.Thread.start
        requested(lambda: None, detect_lost_context=False)
        assert threading.Thread.start is before

    def test_everything_is_put_back(self) -> None:
        before = (threading.Thread.start, asyncio.Queue.put_nowait, queue.Queue.get)
        requested(lambda: None)
        assert threading.Thread.start is not before[0]
        bootstrap.shut_down()
        assert (threading.Thread.start, asyncio.Queue.put_nowait, queue.Queue.get) == before


def test_a_process_that_does_not_serve_has_no_request_to_lose() -> None:
    bootstrap.engine_for(Settings.from_mapping(SETTINGS))
    with graymw.use("default", "v2"):
        in_a_thread()
    call()
    assert (lost(), uncarried()) == (0, 0)


def test_a_request_without_decisions_has_nothing_to_lose() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        in_a_thread()
        start_response("200 OK", [])
        return []

    ask_wsgi(graymw.install(app, settings={"service": "shop", "detect_lost_context": True}), "/", {})
    assert lost() == 0
