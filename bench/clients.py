"""What graymw adds to a client call, against the bare library and against OpenTelemetry's instrumentation of it.

    python -m bench.clients

No sockets: each library runs as it is down to the point where it would write to a connection. A gray request is at
hand; ``carried`` calls an address inside, ``routed`` a service name. Patches are process-wide, so each way of patching
is a process of its own, and the processes take turns in short slices.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import aiohttp
import grpc
import httpcore
import httpx
import requests
import urllib3
from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from rich.console import Console
from rich.table import Table
from yarl import URL

from bench.harness import Timing, keep
from bench.middleware import Nothing
from graymw.clients import instrumenting
from graymw.core.context import Decision, GrayContext
from graymw.core.document import parse
from graymw.registries.static import StaticRegistry
from graymw.runtime import current
from graymw.runtime.current import Carried
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings

ADDRESS = "http://10.0.0.7:8001/items?page=2"
SERVICE = "http://orders/items?page=2"
HEADERS = {"accept": "application/json", "x-request-id": "7f9c2ba4", "authorization": "Bearer 0123456789abcdef"}

TLS = ssl.create_default_context()

READY = "gray.checkout=v2,gray-rev=9f3c2a11"
"""What a floor by hand sends: the library's own way to set one header whose value is known."""

Run = Callable[[int], None]


class StubPool:
    """In the place of httpcore's connection pool."""

    def handle_request(self, request: Any) -> httpcore.Response:
        return httpcore.Response(200, headers=[(b"content-length", b"0")], content=b"")

    async def handle_async_request(self, request: Any) -> httpcore.Response:
        return httpcore.Response(200, headers=[(b"content-length", b"0")], content=b"")

    def close(self) -> None:
        pass


def _by_hook(request: httpx.Request) -> None:
    request.headers["baggage"] = READY


async def _by_async_hook(request: httpx.Request) -> None:
    request.headers["baggage"] = READY


def httpx_sync(url: str, *, by_hand: bool = False) -> Run:
    hooks: Any = {"request": [_by_hook]} if by_hand else None
    client = httpx.Client(headers=HEADERS, trust_env=False, verify=TLS, event_hooks=hooks)
    client._transport._pool = StubPool()  # type: ignore[attr-defined]

    def run(count: int) -> None:
        for _ in range(count):
            client.get(url)

    return run


def httpx_async(url: str, *, by_hand: bool = False) -> Run:
    hooks: Any = {"request": [_by_async_hook]} if by_hand else None
    client = httpx.AsyncClient(headers=HEADERS, trust_env=False, verify=TLS, event_hooks=hooks)
    client._transport._pool = StubPool()  # type: ignore[attr-defined]

    async def calls(count: int) -> None:
        for _ in range(count):
            await client.get(url)

    return lambda count: LOOP.run_until_complete(calls(count))


def _answer(*_: Any, **__: Any) -> urllib3.HTTPResponse:
    return urllib3.HTTPResponse(BytesIO(), status=200, headers={"Content-Length": "0"}, preload_content=False)


def _headers(*, by_hand: bool) -> dict[str, str]:
    return {**HEADERS, "baggage": READY} if by_hand else HEADERS


def requests_session(url: str, *, by_hand: bool = False) -> Run:
    session = requests.Session()
    session.headers.update(_headers(by_hand=by_hand))
    session.trust_env = False

    def run(count: int) -> None:
        for _ in range(count):
            session.get(url)

    return run


def urllib3_manager(url: str, *, by_hand: bool = False) -> Run:
    pools = urllib3.PoolManager(headers=_headers(by_hand=by_hand))

    def run(count: int) -> None:
        for _ in range(count):
            pools.request("GET", url)

    return run


class StubProtocol:
    def set_response_params(self, **_: Any) -> None:
        pass


class StubConnection:
    protocol = StubProtocol()

    def close(self) -> None:
        pass


class StubConnector(aiohttp.TCPConnector):
    async def connect(self, req: Any, *_: Any, **__: Any) -> Any:
        return StubConnection()


class StubResponse:
    status = 200
    connection = None
    _raw_cookie_headers = ()
    headers = CIMultiDictProxy(CIMultiDict())
    _history: Any = ()

    def __init__(self, url: URL) -> None:
        self.url = url

    async def start(self, _: Any) -> None:
        pass

    def release(self) -> None:
        pass


class StubRequest(aiohttp.ClientRequest):
    async def send(self, _: Any) -> Any:
        return StubResponse(self.original_url)


def aiohttp_session(url: str, *, by_hand: bool = False) -> Run:
    headers = _headers(by_hand=by_hand)

    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers=headers, connector=StubConnector(), request_class=StubRequest)

    session = LOOP.run_until_complete(make())
    atexit.register(lambda: LOOP.run_until_complete(session.close()))

    async def calls(count: int) -> None:
        for _ in range(count):
            await session.get(url)

    return lambda count: LOOP.run_until_complete(calls(count))


class StubChannel:
    """In the place of grpc's own channel: the core, which is C++, is not what is asked about."""

    def __init__(self, *_: Any) -> None:
        pass

    def unary_unary(self, *_: Any, **__: Any) -> Any:
        def call(request: Any, timeout: Any = None, metadata: Any = None, *_: Any, **__: Any) -> bytes:
            return b""

        return call

    def close(self) -> None:
        pass


def grpc_channel(url: str, *, by_hand: bool = False) -> Run:
    host = url.split("/")[2]
    sent = (("x-request-id", "7f9c2ba4"), *([("baggage", READY)] if by_hand else []))
    send = grpc.insecure_channel(host).unary_unary("/shop.Orders/Get")

    def run(count: int) -> None:
        for _ in range(count):
            send(b"", timeout=1, metadata=sent)

    return run


CLIENTS: dict[str, tuple[Callable[..., Run], Any]] = {
    "httpx": (httpx_sync, HTTPXClientInstrumentor()),
    "httpx-async": (httpx_async, HTTPXClientInstrumentor()),
    "requests": (requests_session, RequestsInstrumentor()),
    "urllib3": (urllib3_manager, URLLib3Instrumentor()),
    "aiohttp": (aiohttp_session, AioHttpClientInstrumentor()),
    "grpc": (grpc_channel, GrpcInstrumentorClient()),
}

LOOP = asyncio.new_event_loop()
SLICE_SECONDS = 0.004
MODES = ("bare", "by hand", "graymw, carried", "graymw, routed", "contrib", "contrib + graymw")


def runs(mode: str) -> dict[str, Run]:
    """All clients, patched in one way."""
    found = {}
    for name, (make, instrumentor) in CLIENTS.items():
        if mode.startswith("contrib") and not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(skip_dep_check=True)
        if "graymw" in mode:
            instrumenting.instrument()
        options = {"by_hand": True} if mode == "by hand" else {}
        found[name] = make(SERVICE if mode == "graymw, routed" else ADDRESS, **options)
    return found


def serve(mode: str, *, spans: bool) -> None:
    """Run a slice of each client that is named on standard input, and tell the microseconds per call."""
    asyncio.set_event_loop(LOOP)
    urllib3.HTTPConnectionPool._make_request = _answer  # type: ignore[assignment]
    from grpc import _channel

    _channel.Channel = StubChannel
    if spans:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Nothing(), max_queue_size=2048, schedule_delay_millis=200))
        trace.set_tracer_provider(provider)
    carried = gray_request()
    current.attach(carried.context, carried)
    clients = runs(mode)
    loops = {name: calibrated(run) for name, run in clients.items()}
    gc.collect()
    gc.disable()
    for line in sys.stdin:
        run, count = clients[line.strip()], loops[line.strip()]
        run(3)
        begin = time.thread_time()
        run(count)
        print((time.thread_time() - begin) / count * 1e6, flush=True)
        gc.collect()


def calibrated(run: Run) -> int:
    run(50)
    begin = time.thread_time()
    run(50)
    return max(5, int(50 * SLICE_SECONDS / (time.thread_time() - begin)))


def measure(*, spans: bool, rounds: int) -> dict[str, Timing]:
    """Minimum and median of each client in each mode, slices taken in turn."""
    command = [sys.executable, "-m", "bench.clients", "--spans" if spans else "--plain"]
    workers = {
        mode: subprocess.Popen([*command, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for mode in MODES
    }
    samples: dict[str, list[float]] = {f"{name} {mode}": [] for name in CLIENTS for mode in MODES}
    for _ in range(rounds):
        for name in CLIENTS:
            for mode, worker in workers.items():
                assert worker.stdin is not None
                assert worker.stdout is not None
                worker.stdin.write(f"{name}\n")
                worker.stdin.flush()
                samples[f"{name} {mode}"].append(float(worker.stdout.readline()))
    for worker in workers.values():
        worker.communicate()
    return {name: Timing(min(values), statistics.median(values)) for name, values in samples.items()}


def gray_request() -> Carried:
    table = {
        "orders": [
            {"url": "http://10.0.0.7:8001", "version": "v1"},
            {"url": "http://10.0.0.8:8001", "version": "v2"},
            {"url": "http://10.0.0.9:8001", "version": "v2"},
        ]
    }
    settings = Settings.from_mapping({"service": "edge", "services": table}, environ={})
    engine = Engine(settings, StaticRegistry(settings.services))
    engine.adopt(parse({"schema": 1, "releases": {"checkout": {"services": ["orders"], "stable": "v1", "rules": []}}}))
    current.set_default_engine(engine)
    return Carried(
        engine, GrayContext([Decision("checkout", "v2", "inherited", None, "9f3c2a11", "v1")], revision="9f3c2a11")
    )


def added(timings: dict[str, Timing], attribute: str = "minimum") -> dict[str, float]:
    bare = {name.split()[0]: getattr(timing, attribute) for name, timing in timings.items() if name.endswith(" bare")}
    return {name: getattr(timing, attribute) - bare[name.split()[0]] for name, timing in timings.items()}


def main(rounds: int = 40) -> None:
    report(measure(spans=False, rounds=rounds), measure(spans=True, rounds=rounds))


def report(plain: dict[str, Timing], spans: dict[str, Timing]) -> None:
    console = Console()
    for title, timings in (("no tracing", plain), ("spans recorded", spans)):
        table = Table("case", "minimum us", "median us", "added us (minima)", "added us (medians)", title=title)
        extra, middle = added(timings), added(timings, "median")
        for name, timing in timings.items():
            table.add_row(
                name, f"{timing.minimum:.1f}", f"{timing.median:.1f}", f"{extra[name]:.1f}", f"{middle[name]:.1f}"
            )
        console.print(table)
    without, recorded = added(plain), added(spans)
    goals = {}
    for name in CLIENTS:
        goals[f"{name}: us added by carrying"] = without[f"{name} graymw, carried"]
        goals[f"{name}: us more than a ready header by hand (goal 5)"] = (
            without[f"{name} graymw, carried"] - without[f"{name} by hand"]
        )
        routed = plain[f"{name} graymw, routed"].minimum
        goals[f"{name}: us added by routing to an instance"] = without[f"{name} graymw, routed"]
        if name != "grpc":  # whose stub costs nothing
            goals[f"{name}: routed / bare, called with the instance's address"] = routed / plain[f"{name} bare"].minimum
        goals[f"{name}: carrying / bare"] = plain[f"{name} graymw, carried"].minimum / plain[f"{name} bare"].minimum
        goals[f"{name}: own span recorded / contrib"] = (
            recorded[f"{name} graymw, carried"] / recorded[f"{name} contrib"]
        )
    table = Table("goal", "reached")
    for name, value in goals.items():
        table.add_row(name, f"{value:.2f}")
    console.print(table)
    keep("clients", {"added": without, "added_spans": recorded, "goals": goals})


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve(sys.argv[2], spans=sys.argv[1] == "--spans")
    else:
        main()
