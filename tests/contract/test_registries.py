"""What every registry does, whatever is behind it. A new registry is one more module of ``registry_backends``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from registry_backends import RegistryBackend, WholeRegistry, variants
from serving import Service, free_port, serving
from waiting import eventually

from graymw.core.instances import Instance
from graymw.registries.choosing import SOURCES, registrar_for
from graymw.runtime.instance_keeper import InstanceKeeper
from graymw.runtime.own_address import host_towards
from graymw.runtime.ports import Registry
from graymw.runtime.registration import Registration
from graymw.runtime.watching import WatchThread
from graymw.settings.schema import Settings

REGISTERED = Path(__file__).parents[1] / "support" / "registered.py"
HOST = "127.0.0.1"
CROWD = 20
"""Processes that watch the same registry."""

VARIANTS = variants()


@pytest.fixture(params=VARIANTS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryBackend]:
    with VARIANTS[request.param](tmp_path) as opened:
        law = request.function.__name__
        if law in opened.lacks:
            pytest.skip(opened.lacks[law])
        yield opened


@pytest.fixture
def thread() -> Iterator[WatchThread]:
    thread = WatchThread()
    yield thread
    thread.stop()


def settings_of(backend: RegistryBackend, **more: object) -> Settings:
    return Settings.from_mapping({**backend.settings(), **more}, environ={})


def _kept(settings: Settings, thread: WatchThread) -> Registry:
    scheme = settings.registry.partition(":")[0].partition("+")[0]
    return InstanceKeeper(SOURCES[scheme](settings.registry, settings), hold_seconds=1.0, thread=thread)


class Client:
    """A process that looks ``orders`` up."""

    def __init__(self, backend: RegistryBackend, thread: WatchThread, settings: Settings | None = None) -> None:
        self._seconds = backend.seconds
        self.keeper = (
            backend.registry(thread)
            if isinstance(backend, WholeRegistry)
            else _kept(settings or settings_of(backend), thread)
        )
        self.keeper.want(["orders"])
        self.keeper.start()

    @property
    def ports(self) -> list[int]:
        return sorted(instance.port for instance in self.keeper.instances("orders") or ())

    def sees(self, *ports: int, seconds: float | None = None) -> None:
        try:
            eventually(lambda: self.ports == sorted(ports), seconds or self._seconds)
        except AssertionError as error:
            error.add_note(f"seen: {self.ports}, wanted: {sorted(ports)}; last error: {self.keeper.last_error!r}")
            raise

    def one(self, port: int) -> Instance:
        return next(one for one in self.keeper.instances("orders") or () if one.port == port)


@pytest.fixture
def client(backend: RegistryBackend, thread: WatchThread) -> Callable[[], Client]:
    return lambda: Client(backend, thread)


def test_it_lists_instances_with_what_they_say_of_themselves(
    backend: RegistryBackend, client: Callable[[], Client]
) -> None:
    backend.put("orders", HOST, 8001, {"version": "v1", "weight": "3", "zone": "a", "rack": "r7"})
    backend.put("orders", HOST, 8002, {"version": "1.10", "gray": "true"})
    backend.put("payments", HOST, 8003, {"version": "v1"})
    orders = client()
    orders.sees(8001, 8002)
    stable, gray = orders.one(8001), orders.one(8002)
    assert (stable.service, stable.host, stable.version, stable.weight, stable.zone) == ("orders", HOST, "v1", 3, "a")
    assert stable.metadata["rack"] == "r7"
    assert (gray.version, gray.weight, gray.gray, stable.gray) == ("1.10", 1, True, False)


def test_a_service_nobody_registered_is_not_known(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    backend.put("payments", HOST, 8003, {"version": "v1"})
    orders = client()
    orders.keeper.want(["orders", "payments"])
    eventually(lambda: orders.keeper.instances("payments"), backend.seconds)
    assert orders.keeper.instances("orders") is None


def test_an_instance_that_appears_is_seen(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    backend.put("orders", HOST, 8001, {"version": "v1"})
    orders = client()
    orders.sees(8001)
    backend.put("orders", HOST, 8002, {"version": "v2"})
    orders.sees(8001, 8002)
    assert orders.one(8002).version == "v2"


def test_the_first_instance_of_all_is_seen(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    orders = client()
    backend.put("orders", HOST, 8001, {"version": "v1"})
    orders.sees(8001)


def test_a_change_of_metadata_is_seen(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    backend.put("orders", HOST, 8001, {"version": "v1", "weight": "1"})
    orders = client()
    orders.sees(8001)
    backend.put("orders", HOST, 8001, {"version": "v2", "weight": "7"})
    eventually(lambda: (orders.one(8001).version, orders.one(8001).weight) == ("v2", 7), backend.seconds)


def test_an_instance_that_vanishes_is_let_go(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    for port in (8001, 8002, 8003):
        backend.put("orders", HOST, port, {"version": "v1"})
    orders = client()
    orders.sees(8001, 8002, 8003)
    backend.remove("orders", HOST, 8002)
    orders.sees(8001, 8003)


def test_five_hundred_instances(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    ports = range(9001, 9501)
    for port in ports:
        backend.put("orders", HOST, port, {"version": f"v{port % 2 + 1}"})
    orders = client()
    orders.sees(*ports, seconds=max(30, backend.seconds))
    backend.put("orders", HOST, 9999, {"version": "v1"})
    orders.sees(*ports, 9999)


def test_a_restart_of_the_server_loses_nothing(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    backend.put("orders", HOST, 8001, {"version": "v1"})
    backend.put("orders", HOST, 8002, {"version": "v1"})
    orders = client()
    orders.sees(8001, 8002)
    backend.stop()
    backend.start()
    backend.put("orders", HOST, 8003, {"version": "v2"})
    orders.sees(8001, 8002, 8003, seconds=30 + backend.seconds)


def test_a_crowd_comes_back_after_a_restart_of_the_server(
    backend: RegistryBackend, client: Callable[[], Client]
) -> None:
    """At moments of their own: tests/runtime has how far they lie apart."""
    backend.put("orders", HOST, 8001, {"version": "v1"})
    crowd = [client() for _ in range(CROWD)]
    for each in crowd:
        each.sees(8001, seconds=30 + backend.seconds)
    backend.stop()
    backend.start()
    backend.put("orders", HOST, 8002, {"version": "v1"})
    for each in crowd:
        each.sees(8001, 8002, seconds=30 + backend.seconds)


def test_while_the_server_is_gone_the_last_known_stay(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    backend.put("orders", HOST, 8001, {"version": "v1"})
    orders = client()
    orders.sees(8001)
    backend.stop()
    eventually(lambda: orders.keeper.last_error, 20 + backend.seconds)
    assert orders.ports == [8001]
    backend.start()
    backend.put("orders", HOST, 8002, {"version": "v1"})
    orders.sees(8001, 8002, seconds=30 + backend.seconds)
    assert orders.keeper.last_error == ""


def test_it_begins_while_the_server_is_down(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    backend.put("orders", HOST, 8001, {"version": "v1"})
    backend.stop()
    orders = client()
    eventually(lambda: orders.keeper.last_error, 20 + backend.seconds)
    assert orders.keeper.instances("orders") is None
    backend.start()
    orders.sees(8001, seconds=30 + backend.seconds)


def test_a_forked_process_looks_up_for_itself(
    backend: RegistryBackend, client: Callable[[], Client], thread: WatchThread
) -> None:
    """What a fork does to the thread: its loop ends, and another one begins with the same jobs."""
    backend.put("orders", HOST, 8001, {"version": "v1"})
    orders = client()
    orders.sees(8001)
    thread.stop()
    backend.put("orders", HOST, 8002, {"version": "v1"})
    thread.start()
    orders.sees(8001, 8002)


def test_a_wrong_login_is_told_and_breaks_nothing(
    backend: RegistryBackend, thread: WatchThread, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = backend.wrong_login()
    if wrong is None:
        pytest.skip("this one runs without a log-in")
    backend.put("orders", HOST, 8001, {"version": "v1"})
    orders = Client(backend, thread, Settings.from_mapping(wrong, environ={}))
    eventually(lambda: orders.keeper.last_error, 20 + backend.seconds)
    assert orders.keeper.instances("orders") is None
    secrets = [str(value) for key, value in wrong.items() if key.endswith(("password", "token", "secret_key"))]
    assert secrets
    assert not [secret for secret in secrets if secret in caplog.text + orders.keeper.last_error + orders.keeper.name]


def registered(backend: RegistryBackend, folder: Path, port: int, **more: str) -> AbstractContextManager[Service]:
    """A service in a process of its own that registers itself."""
    told = {**backend.settings(), "service": "orders", "version": "v2", "register": "true", **more}
    environ = {f"GRAYMW_{name.upper()}": str(value) for name, value in told.items()}
    return serving(["python", str(REGISTERED), str(port)], environ, folder, port)


def test_a_process_registers_itself_and_leaves_when_it_is_told_to_end(
    backend: RegistryBackend, client: Callable[[], Client], tmp_path: Path
) -> None:
    orders, port = client(), free_port()
    with registered(backend, tmp_path, port, weight="5", zone="b", metadata='{"rack": "r7"}') as service:
        orders.sees(port, seconds=20 + backend.seconds)
        instance = orders.one(port)
        assert (instance.version, instance.weight, instance.zone) == ("v2", 5, "b")
        assert instance.host == host_towards(HOST)
        assert instance.metadata["rack"] == "r7"
        service.terminate()
        orders.sees(seconds=5 + backend.seconds)
        assert "Traceback" not in service.output


def test_a_killed_process_is_let_go_when_its_heartbeats_are_missed(
    backend: RegistryBackend, client: Callable[[], Client], tmp_path: Path
) -> None:
    orders, port = client(), free_port()
    with registered(backend, tmp_path, port) as service:
        orders.sees(port, seconds=20 + backend.seconds)
        os.kill(service.process.pid, signal.SIGKILL)
        orders.sees(seconds=backend.expiry_seconds + backend.seconds)


class Standing:
    """This process, registered at a port that it is told."""

    def __init__(self, backend: RegistryBackend, thread: WatchThread, port: int, folder: Path | None = None) -> None:
        self.settings = settings_of(backend, service="orders", version="v1", register=True, address=f"{HOST}:{port}")
        registrar = registrar_for(self.settings)
        assert registrar is not None
        self.registration = Registration(self.settings, registrar, registry_host=HOST, directory=folder, thread=thread)
        self.registration.start()


def test_a_registration_that_the_registry_lost_is_restored(
    backend: RegistryBackend, client: Callable[[], Client], thread: WatchThread
) -> None:
    orders, standing = client(), Standing(backend, thread, 8001)
    orders.sees(8001)
    backend.remove("orders", HOST, 8001)
    backend.put("orders", HOST, 8002, {"version": "v1"})
    orders.sees(8001, 8002, seconds=30 + backend.seconds)
    standing.registration.stop()
    orders.sees(8002)


def test_a_registration_outlives_a_restart_of_the_server(
    backend: RegistryBackend, client: Callable[[], Client], thread: WatchThread
) -> None:
    orders, standing = client(), Standing(backend, thread, 8001)
    orders.sees(8001)
    backend.stop()
    eventually(lambda: standing.registration.last_error, 30 + backend.seconds)
    backend.start()
    eventually(lambda: not standing.registration.last_error, 30 + backend.seconds)
    fresh = WatchThread()
    try:
        Client(backend, fresh).sees(8001, seconds=30 + backend.seconds)
    finally:
        fresh.stop()
    standing.registration.stop()


def test_a_process_that_begins_while_the_server_is_down_registers_later(
    backend: RegistryBackend, client: Callable[[], Client], thread: WatchThread
) -> None:
    backend.stop()
    standing = Standing(backend, thread, 8001)
    eventually(lambda: standing.registration.last_error, 20 + backend.seconds)
    backend.start()
    client().sees(8001, seconds=30 + backend.seconds)
    standing.registration.stop()


def test_an_address_is_left_by_the_last_of_its_processes(
    backend: RegistryBackend, client: Callable[[], Client], thread: WatchThread, tmp_path: Path
) -> None:
    """Workers of one server share its socket; each restarts now and then."""
    orders, first = client(), Standing(backend, thread, 8001, tmp_path)
    orders.sees(8001)
    second = Standing(backend, thread, 8001, tmp_path)
    eventually(lambda: second.registration.instance, backend.seconds)
    first.registration.stop()
    backend.put("orders", HOST, 8002, {"version": "v1"})
    orders.sees(8001, 8002)
    second.registration.stop()
    orders.sees(8002)


def test_metadata_of_strangers_breaks_nothing(backend: RegistryBackend, client: Callable[[], Client]) -> None:
    strange: Mapping[str, str] = {"version": "-no version-", "weight": "much", "zone": "", "gray": "perhaps"}
    backend.put("orders", HOST, 8001, strange)
    orders = client()
    orders.sees(8001)
    instance = orders.one(8001)
    assert (instance.weight, instance.zone, instance.gray) == (1, "", False)
    # Where the registry can hold it at all, it becomes a label that no rule names, not that of the stable version.
    assert instance.version in ("", "x-no_version-_")
