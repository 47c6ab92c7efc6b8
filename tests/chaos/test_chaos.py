"""Three services in two versions of three instances each, under load, while instances and the registry die and return.

No request reaches a version it was not meant for as long as one instance of the right one lives, and nobody sees an
error, but for answers that a killed instance had begun to send: nobody can take those back. Without any instance of the
gray version its requests fall back to stable, and stable ones never to gray.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_etcd import PROGRAMS, Etcd
from waiting import eventually

import graymw
from graymw import bootstrap
from graymw.runtime import counters

from .fleet import SERVICES, VERSIONS, Fleet, Group
from .load import Account, Load

ROUNDS = 3
RULES = """
schema: 1
releases:
  shop:
    services: [edge, orders, payments]
    stable: v1
"""


class Shop:
    """The fleet, its registry, and the traffic."""

    def __init__(self, etcd: Etcd, fleet: Fleet, load: Load) -> None:
        self.etcd = etcd
        self.fleet = fleet
        self.load = load

    def serves(self, requests: int) -> None:
        """Wait until so many requests more were answered."""
        wanted = self.load.served + requests
        eventually(lambda: self.load.served >= wanted, 60)

    def sees(self, group: Group, *ports: int) -> None:
        """Wait until this process knows exactly these instances of a group."""
        (running,) = bootstrap.running()

        def known() -> list[int]:
            found = running.upkeep.registry.instances(group.service) if running.upkeep.registry else None
            return sorted(one.port for one in found or () if one.version == group.version)

        try:
            eventually(lambda: known() == sorted(ports), 60)
        except AssertionError as error:
            error.add_note(f"{group} is known at {known()}, not at {sorted(ports)}")
            raise

    def whole(self) -> None:
        for service, version in itertools.product(SERVICES, VERSIONS):
            group = Group(service, version)
            self.sees(group, *(member.port for member in self.fleet.of(group)))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    etcd = Etcd(PROGRAMS["3.4"](), tmp_path).start()
    told = {"GRAYMW_RULES": str(rules), "GRAYMW_REGISTRY": f"etcd://127.0.0.1:{etcd.port}"}
    for name, value in {**told, "GRAYMW_SERVICE": "driver"}.items():
        monkeypatch.setenv(name, value)
    outside = {name: os.environ[name] for name in ("PATH", "HOME", "GRAYMW_STATE_DIR") if name in os.environ}
    fleet, load = Fleet({**outside, **told}, tmp_path), Load()
    graymw.instrument()
    try:
        for member in fleet.members:
            fleet.start(member, again=False)
        shop = Shop(etcd, fleet, load)
        shop.whole()
        load.start()
        shop.serves(50)
        yield shop
    finally:
        load.stop()
        fleet.end_all()
        etcd.stop()
        graymw.uninstrument()


HALF_SENT = "without sending complete message body"


def faultless(account: Account, killed: int) -> int:
    """Nothing went wrong; how many answers were cut off by a kill, at most one for each."""
    assert [error for error in account.errors if HALF_SENT not in error] == []
    assert len(account.errors) <= killed
    assert account.wrong() == {}
    return len(account.errors)


def test_instances_and_the_registry_die_and_return(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(5)
    kills = served = cut_off = 0
    for round_ in range(ROUNDS):
        victims = [chance.choice(shop.fleet.of(Group(*names))) for names in itertools.product(SERVICES, VERSIONS)]
        for member in victims:
            shop.fleet.end(member, chance.choice([signal.SIGKILL, signal.SIGTERM]))
            kills += 1
            shop.serves(15)
        if round_ == 1:
            shop.etcd.stop()
            shop.serves(60)
        for member in victims:
            shop.fleet.start(member)
        shop.serves(40)
        if round_ == 1:
            shop.etcd.start()
        shop.whole()
        shop.serves(40)
        account = shop.load.taken()
        served += account.served
        cut_off += faultless(account, len(victims))

    group = Group("payments", "v2")
    for member in shop.fleet.of(group):
        shop.fleet.end(member)
        shop.serves(15)
    shop.serves(100)
    fallen = shop.load.taken()
    assert [error for error in fallen.errors if HALF_SENT not in error] == []
    assert set(fallen.wrong()) <= {("v2", "payments", "v1")}
    assert fallen.wrong()
    for member in shop.fleet.of(group):
        shop.fleet.start(member)
    shop.whole()
    eventually(lambda: shop.load.taken().hops["v2", "payments", "v2"], 60)

    group = Group("orders", "v1")
    for member in shop.fleet.of(group):
        shop.fleet.end(member)
    eventually(lambda: shop.load.taken().errors, 60)
    shop.sees(group)
    shop.load.taken()
    shop.serves(20)
    refused = shop.load.taken()
    assert refused.hops["v1", "orders", "v2"] == 0
    assert all(error.startswith("v1: ") for error in refused.errors)
    for member in shop.fleet.of(group):
        shop.fleet.start(member)
    shop.whole()
    assert "Traceback" not in shop.fleet.output()
    with capsys.disabled():
        told = {name: count for name, count in counters.snapshot().items() if "." in name}
        print(f"\nchaos: {served} requests, {kills} ends of {len(shop.fleet.members)} instances; {cut_off} cut off")
        print(f"chaos: fell back: {sum(fallen.wrong().values())}; counted in the caller: {told}")
