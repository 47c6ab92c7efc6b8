from __future__ import annotations

from pathlib import Path

import pytest
from waiting import eventually

from graymw.core.context import UNDECIDED
from graymw.core.instances import Instance
from graymw.registries.static import StaticRegistry
from graymw.runtime import counters

ORDERS = (Instance("orders", "127.0.0.1", 8001, "v1"), Instance("orders", "127.0.0.1", 8002, "v2"))
PAYMENTS = (Instance("payments", "127.0.0.1", 8003, "v1"),)


def test_instances_of_a_service() -> None:
    registry = StaticRegistry({"orders": ORDERS, "payments": ()})
    assert registry.instances("orders") == ORDERS
    assert registry.instances("payments") == ()


def test_a_service_that_is_not_known_is_not_one_without_instances() -> None:
    assert StaticRegistry({}).instances("orders") is None


def test_the_table_is_a_copy() -> None:
    table = {"orders": ORDERS}
    registry = StaticRegistry(table)
    table.clear()
    registry.want(["payments"])
    registry.start()
    assert registry.services == {"orders": ORDERS}
    registry.stop()
    assert registry.instances("ORDERS") == ORDERS


def test_another_table_takes_the_place_of_the_first() -> None:
    registry = StaticRegistry({"orders": ORDERS})
    registry.adopt({"Payments": PAYMENTS})
    assert registry.services == {"payments": PAYMENTS}
    assert counters.snapshot()["registry.changed"] == 1


def test_an_equal_table_is_no_change() -> None:
    registry = StaticRegistry({"orders": ORDERS})
    registry.adopt({"Orders": ORDERS})
    assert "registry.changed" not in counters.snapshot()


def test_a_service_that_did_not_change_stays_the_same_object() -> None:
    """So that whoever has built something on it need not do so again."""
    registry = StaticRegistry({"orders": ORDERS})
    registry.adopt({"orders": (*ORDERS,), "payments": PAYMENTS})
    assert registry.instances("orders") is ORDERS


TABLE = 'services: {{orders: [{{url: "http://127.0.0.1:{port}"}}]}}\n'


def test_a_running_application_routes_by_the_table_as_it_is_written_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graymw.installation import start

    monkeypatch.chdir(tmp_path)
    (tmp_path / "graymw.yaml").write_text(TABLE.format(port=8001))
    engine = start(None)
    assert engine is not None
    document = engine.snapshot.document

    def port() -> int:
        instance = engine.directory.choose(document, "orders", UNDECIDED).instance
        assert instance is not None
        return instance.port

    assert port() == 8001
    (tmp_path / "graymw.yaml").write_text(TABLE.format(port=9001))
    eventually(lambda: port() == 9001)
