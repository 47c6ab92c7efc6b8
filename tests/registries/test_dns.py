"""The DNS registry's own decisions; ``tests/servers/test_dns.py`` has it talk to a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from graymw.core.instances import Instance
from graymw.errors import MissingExtraError, SourceError
from graymw.registries import dns
from graymw.registries.dns import DnsRegistry
from graymw.remote.dns import Addresses, ServiceRecord, ServiceRecords
from graymw.runtime import counters

URL = "dns://127.0.0.1/d"
NOT_ANSWERED = SourceError("did not answer")


class Names:
    """What a name server would say; an error in a place is raised there."""

    def __init__(self) -> None:
        self.services_: Any = ServiceRecords((), ttl=30.0)
        self.addresses_: dict[str, Any] = {}
        self.asked: list[str] = []

    def points_to(self, *targets: str, glue: Mapping[str, tuple[str, ...]] | None = None, ttl: float = 30.0) -> None:
        records = tuple(ServiceRecord(1, 1, 80, target) for target in targets)
        self.services_ = ServiceRecords(records, glue or {}, ttl)

    async def services(self, name: str) -> ServiceRecords:
        return _said(self.services_)

    async def addresses(self, name: str) -> Addresses:
        self.asked.append(name)
        return _said(self.addresses_.get(name, Addresses((), 30.0)))


def _said(said: Any) -> Any:
    if isinstance(said, Exception):
        raise said
    return said


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(dns, "DnsClient", lambda servers, tcp: names)
    return names


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it meant to wait each time; it does not."""
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(dns.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
    return pauses


def seen(names: Names, steps: list[Callable[[], None]], service: str = "orders") -> list[list[str]]:
    """Hosts of a service at first, and after each step that changes them."""

    async def run() -> list[list[str]]:
        changes = DnsRegistry(URL, floor=0.0).watch(service)
        found = [await anext(changes)]
        for step in steps:
            step()
            found.append(await asyncio.wait_for(anext(changes), 5))
        return [[instance.host for instance in it] for it in found]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("ttl", "found", "expected"), [(0.0, True, 1.0), (7.0, True, 7.0), (300.0, True, 30.0), (300.0, False, 5.0)]
)
def test_an_answer_holds_for_its_time_within_bounds(
    names: Names, pauses: list[float], ttl: float, found: bool, expected: float
) -> None:
    names.points_to("a.", glue={"a.": ("127.0.0.1",)} if found else {}, ttl=ttl)

    async def run() -> None:
        registry = DnsRegistry(URL, entropy=lambda: 0.0)
        changes = registry.watch("orders")
        await anext(changes)
        task = asyncio.ensure_future(anext(changes))
        while not pauses:
            await asyncio.wait([task], timeout=0.001)
        task.cancel()

    asyncio.run(run())
    assert pauses[0] == pytest.approx(expected, rel=0.01)


def test_processes_do_not_ask_all_at_the_same_moment() -> None:
    lookup = dns.Lookup((Instance("orders", "h", 1, ""),), 10.0)
    for entropy, expected in ((0.0, 10.0), (0.5, 9.5), (0.999, 9.0)):
        assert DnsRegistry(URL, entropy=lambda at=entropy: at)._pause(lookup) == pytest.approx(expected, abs=0.01)  # type: ignore[misc]


def test_an_instance_whose_host_cannot_be_looked_up_keeps_its_last_address(names: Names, pauses: list[float]) -> None:
    names.points_to("a.", "b.", ttl=0.0)
    names.addresses_ = {"a.": Addresses(("127.0.0.1",)), "b.": Addresses(("127.0.0.2",))}

    def trouble() -> None:
        names.addresses_ = {"a.": NOT_ANSWERED, "b.": Addresses(("127.0.0.3",))}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dns, "FLOOR_SECONDS", 0.0)
        assert seen(names, [trouble]) == [["127.0.0.1", "127.0.0.2"], ["127.0.0.1", "127.0.0.3"]]
    assert counters.snapshot()["registry.dns.host"] > 0


def test_an_instance_whose_host_was_never_known_is_left_out(names: Names) -> None:
    names.points_to("a.", "b.")
    names.addresses_ = {"a.": NOT_ANSWERED, "b.": Addresses(("127.0.0.2",), 9.0)}
    assert seen(names, []) == [["127.0.0.2"]]


def test_no_host_at_all_that_can_be_looked_up_is_an_outage_and_not_an_empty_service(names: Names) -> None:
    names.points_to("a.", "b.")
    names.addresses_ = {"a.": NOT_ANSWERED, "b.": NOT_ANSWERED}
    with pytest.raises(SourceError, match="did not answer"):
        seen(names, [])


def test_addresses_that_came_along_are_not_asked_for(names: Names) -> None:
    names.points_to("a.", glue={"a.": ("127.0.0.1", "127.0.0.2")})
    assert seen(names, []) == [["127.0.0.1", "127.0.0.2"]]
    assert names.asked == []


def test_a_host_is_asked_for_once_while_its_address_holds(names: Names, pauses: list[float]) -> None:
    names.points_to("a.", ttl=0.0)
    names.addresses_ = {"a.": Addresses(("127.0.0.1",), 60.0), "b.": Addresses(("127.0.0.2",), 60.0)}
    seen(names, [lambda: names.points_to("a.", "b.", ttl=0.0), lambda: names.points_to("b.", ttl=0.0)])
    assert names.asked == ["a.", "b."]


def test_a_target_of_a_dot_means_that_there_is_no_service(names: Names) -> None:
    """RFC 2782: a target of "." means that the service is decidedly not available at this domain."""
    names.points_to(".")
    assert seen(names, []) == [[]]


def test_a_missing_library_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graymw.remote.dns.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"dnspython is not installed: pip install 'graymw\[dns\]'$"):
        DnsRegistry(URL)
