from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually

from graymw.core.context import UNDECIDED
from graymw.core.instances import Instance
from graymw.registries import static
from graymw.registries.static import StaticRegistry
from graymw.runtime import counters
from graymw.runtime.watching import WatchThread
from graymw.settings.loader import load_settings
from graymw.settings.schema import Settings

ORDERS = (Instance("orders", "127.0.0.1", 8001, "v1"), Instance("orders", "127.0.0.1", 8002, "v2"))


def test_instances_of_a_service() -> None:
    registry = StaticRegistry({"orders": ORDERS, "payments": ()})
    assert registry.instances("orders") == ORDERS
    assert registry.instances("payments") == ()


def test_a_service_that_is_not_known_is_not_one_without_instances() -> None:
    assert StaticRegistry({}).instances("orders") is None


def test_a_table_that_the_application_gave_never_changes() -> None:
    table = {"orders": ORDERS}
    registry = StaticRegistry(table)
    table.clear()
    registry.want(["payments"])
    registry.start()
    assert registry.services == {"orders": ORDERS}
    registry.stop()
    assert registry.instances("ORDERS") == ORDERS


YAML = """
service: edge
services:
  orders:
    - {url: "http://127.0.0.1:8001", version: v1}
"""
OTHER = YAML.replace("8001", "9001")


class Reloaded:
    """A static registry whose table lies in a file."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.path = folder / "graymw.yaml"
        self.path.write_text(YAML)
        settings = load_settings(environ=variables, directory=folder)
        self.thread = WatchThread()
        self.registry = StaticRegistry(settings.services, place=settings.place, thread=self.thread)
        self.registry.start()

    @property
    def ports(self) -> list[int]:
        return [instance.port for instance in self.registry.instances("orders") or ()]

    def becomes(self, ports: list[int]) -> None:
        eventually(lambda: self.ports == ports)

    def is_refused(self, told: str) -> None:
        eventually(lambda: told in self.registry.last_error)


@pytest.fixture
def reloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reloaded]:
    monkeypatch.setattr(static, "POLL_SECONDS", 0.02)
    reloaded = Reloaded(tmp_path)
    yield reloaded
    reloaded.registry.stop()
    assert reloaded.thread.stop()


def test_a_changed_table_takes_effect(reloaded: Reloaded) -> None:
    reloaded.path.write_text(OTHER)
    reloaded.becomes([9001])
    assert counters.snapshot()["registry.changed"] == 1


def test_a_service_that_did_not_change_stays_the_same_object(reloaded: Reloaded) -> None:
    """So that whoever has built something on it need not do so again."""
    before = reloaded.registry.instances("orders")
    reloaded.path.write_text(YAML + '  payments: [{url: "http://127.0.0.1:8003"}]\n')
    eventually(lambda: reloaded.registry.instances("payments"))
    assert reloaded.registry.instances("orders") is before


def test_a_table_without_a_service_no_longer_knows_it(reloaded: Reloaded) -> None:
    reloaded.path.write_text("service: edge\n")
    eventually(lambda: reloaded.registry.instances("orders") is None)


def test_a_table_with_faults_is_refused_as_a_whole_and_told_once(
    reloaded: Reloaded, caplog: pytest.LogCaptureFixture
) -> None:
    reloaded.path.write_text(OTHER + '    - {url: "ftp://127.0.0.1", weigth: 1}\n')
    reloaded.is_refused("GRAYMW_SERVICES.orders[1].weigth: unknown key 'weigth'; did you mean weight?")
    os.utime(reloaded.path)
    reloaded.path.write_text(OTHER + '    - {url: "ftp://127.0.0.1", weigth: 1}\n# again\n')
    eventually(lambda: counters.snapshot()["registry.refused"] >= 1)
    assert reloaded.ports == [8001]
    reloaded.path.write_text(OTHER)
    reloaded.becomes([9001])
    assert reloaded.registry.last_error == ""
    assert caplog.text.count("the last good table of services stays: GRAYMW_SERVICES.orders[1].") == 1
    assert counters.snapshot()["registry.refused"] == 1


@pytest.mark.parametrize("text", ["services: [", "services: 7", "services:\n  orders: x\n"])
def test_a_file_that_holds_no_table_is_refused(reloaded: Reloaded, text: str) -> None:
    reloaded.path.write_text(text)
    eventually(lambda: reloaded.registry.last_error)
    assert reloaded.ports == [8001]


def test_a_file_that_is_gone_keeps_the_last_table(reloaded: Reloaded) -> None:
    reloaded.path.unlink()
    reloaded.is_refused("graymw.yaml: the settings file is gone; put it back")
    assert reloaded.ports == [8001]
    reloaded.path.write_text(OTHER)
    reloaded.becomes([9001])


def test_a_directory_in_the_place_of_the_file_keeps_the_last_table(reloaded: Reloaded) -> None:
    reloaded.path.unlink()
    reloaded.path.mkdir()
    reloaded.is_refused("a directory")
    assert reloaded.ports == [8001]


def test_a_local_twin_that_comes_later_counts(reloaded: Reloaded) -> None:
    reloaded.path.with_name("graymw.local.yaml").write_text(OTHER)
    reloaded.becomes([9001])


def test_variables_stand_above_the_file_as_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "POLL_SECONDS", 0.02)
    reloaded = Reloaded(tmp_path, GRAYMW_SERVICES__payments='[{"url": "http://127.0.0.1:8003"}]')
    try:
        reloaded.path.write_text(OTHER.replace("orders", "ORDERS"))
        reloaded.becomes([9001])
        assert reloaded.registry.instances("payments")
    finally:
        reloaded.registry.stop()
        assert reloaded.thread.stop()


def test_nobody_watches_what_did_not_come_from_a_file(tmp_path: Path) -> None:
    thread = WatchThread()
    for settings in (
        load_settings(environ={"GRAYMW_SERVICES": '{"orders": [{"url": "http://127.0.0.1:1"}]}'}, directory=tmp_path),
        Settings.from_mapping({"services": {"orders": []}}, environ={}),
    ):
        StaticRegistry(settings.services, place=settings.place, thread=thread).start()
        assert not thread.alive


def test_a_running_application_routes_by_the_table_as_it_is_written_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graymw.installation import start

    monkeypatch.chdir(tmp_path)
    (tmp_path / "graymw.yaml").write_text(YAML)
    engine = start(None)
    assert engine is not None
    document = engine.snapshot.document

    def port() -> int:
        instance = engine.directory.choose(document, "orders", UNDECIDED).instance
        assert instance is not None
        return instance.port

    assert port() == 8001
    (tmp_path / "graymw.yaml").write_text(OTHER)
    eventually(lambda: port() == 9001)
