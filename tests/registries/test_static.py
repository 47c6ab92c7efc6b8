from __future__ import annotations

from graymw.core.instances import Instance
from graymw.registries.static import StaticRegistry

ORDERS = (Instance("orders", "127.0.0.1", 8001, "v1"), Instance("orders", "127.0.0.1", 8002, "v2"))


def test_instances_of_a_service() -> None:
    registry = StaticRegistry({"orders": ORDERS, "payments": ()})
    assert registry.instances("orders") == ORDERS
    assert registry.instances("payments") == ()


def test_a_service_that_is_not_known_is_not_one_without_instances() -> None:
    assert StaticRegistry({}).instances("orders") is None


def test_it_never_changes() -> None:
    table = {"orders": ORDERS}
    registry = StaticRegistry(table)
    table.clear()
    registry.want(["payments"])
    registry.start()
    assert registry.services == {"orders": ORDERS}
    registry.stop()
    assert registry.instances("ORDERS") == ORDERS
