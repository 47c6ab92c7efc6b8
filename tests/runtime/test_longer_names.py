"""A service that a registry knows by several names is governed by one of them, whichever a caller writes."""

from __future__ import annotations

import pytest

from graymw.core.context import UNDECIDED, Decision, GrayContext
from graymw.core.instances import Instance
from graymw.core.model import Release, RuleDocument
from graymw.runtime.instance_picking import InstanceDirectory
from graymw.settings.schema import Settings

STABLE, GRAY = (Instance("orders", "10.0.0.1", 80, "v1"), Instance("orders", "10.0.0.2", 80, "v2"))
NAMES = ("orders", "orders.shop", "orders.shop.svc.cluster.local", "Orders.Shop")


class Registry:
    def __init__(self, *instances: Instance) -> None:
        self._instances = instances

    def instances(self, service: str) -> tuple[Instance, ...] | None:
        return self._instances if service.startswith("orders") else None


def chosen(document: RuleDocument, name: str, gray: GrayContext = UNDECIDED) -> set[str]:
    """Versions that some calls get to."""
    directory = InstanceDirectory(Registry(STABLE, GRAY), Settings())
    found = [directory.choose(document, name, gray).instance for _ in range(20)]
    return {instance.version for instance in found if instance is not None}


def decided(release: str, version: str) -> GrayContext:
    return GrayContext([Decision(release, version, "match", None, None, "v1")])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("services", [("orders",), None])
def test_undecided_traffic_stays_on_stable_by_every_name(name: str, services: tuple[str, ...] | None) -> None:
    assert chosen(RuleDocument((Release("checkout", "v1", services=services),)), name) == {"v1"}


@pytest.mark.parametrize("name", NAMES)
def test_a_decision_counts_by_every_name(name: str) -> None:
    document = RuleDocument((Release("checkout", "v1", services=("orders",)), Release("rest", "v1")))
    assert chosen(document, name, decided("checkout", "v2")) == {"v2"}


def test_a_release_that_names_the_longer_name_governs_it_alone() -> None:
    document = RuleDocument(
        (
            Release("checkout", "v1", services=("orders",)),
            Release("theirs", "v1", services=("orders.billing",)),
        )
    )
    assert chosen(document, "orders.billing", decided("theirs", "v2")) == {"v2"}
    assert chosen(document, "orders.shop", decided("theirs", "v2")) == {"v1"}
