"""What holds through every neighbour, whatever its language: one suite, run by each."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest

from graymw.demo.spans import ExportedSpan

from .chain import EDGE, LAST, NEIGHBOUR, Chain

GRAY = {"x-gray-version": "true"}
OURS = re.compile(r"gray(\.|-rev$|-sig$)")


def members(header: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Value and properties of each member of a baggage header, whose order says nothing."""
    found = {}
    for member in header.split(","):
        pair, *properties = (part.strip() for part in member.split(";"))
        key, _, value = pair.partition("=")
        found[key.strip()] = (value.strip(), frozenset(properties))
    return found


class ThroughANeighbour:
    """Tests of a chain that the fixture ``chain`` gives.

    Attributes:
        thousands: So many thousand bytes of baggage are sent, more than 8,192 where the transport takes any number.
    """

    thousands: ClassVar = 10
    sent: ClassVar = "userId=alice%20b,tier=gold;source=crm;checked"

    @pytest.mark.parametrize(("headers", "version"), [(GRAY, "v2"), ({}, "v1")])
    def test_the_decision_of_the_first_hop_is_inherited_by_the_last(
        self, chain: Chain, headers: dict[str, str], version: str
    ) -> None:
        first, neighbour, last = chain.ask(headers)
        assert (first["version"], first["reason"]) == (version, "match" if headers else "default")
        assert (last["version"], last["reason"]) == (version, "inherited")
        assert last["revision"] == first["revision"] is not None
        assert neighbour["version"] in (version, None)

    def test_our_members_arrive_as_they_were_sent(self, chain: Chain) -> None:
        first, neighbour, last = chain.ask({**GRAY, "baggage": self.sent})
        arrived = {key: member for key, member in members(last["received"]).items() if OURS.match(key)}
        assert arrived == {
            "gray.checkout": ("v2", frozenset()),
            "gray-rev": (first["revision"], frozenset()),
        }
        assert neighbour["baggage"].startswith(f"gray.checkout=v2,gray-rev={first['revision']}")

    def test_the_applications_baggage_arrives_with_its_properties(self, chain: Chain) -> None:
        _, _, last = chain.ask({**GRAY, "baggage": self.sent})
        arrived = {key: member for key, member in members(last["received"]).items() if not OURS.match(key)}
        assert arrived == members(self.sent)
        assert last["baggage"]["userId"] == "alice b"

    @pytest.mark.parametrize(
        "baggage",
        [
            pytest.param("valueless,userId=alice,bad key=1,=x,broken=%zz", id="malformed"),
            pytest.param(",".join(f"k{number}=1" for number in range(100)), id="over-64-members"),
            pytest.param("gray.checkout=v1,userId=alice", id="a-decision-that-the-first-hop-inherits"),
        ],
    )
    def test_whatever_the_applications_baggage_is_the_decision_arrives(self, chain: Chain, baggage: str) -> None:
        first, _, last = chain.ask({**GRAY, "baggage": baggage})
        assert first["version"] == ("v1" if baggage.startswith("gray.") else "v2")
        assert (last["version"], last["reason"]) == (first["version"], "inherited")

    def test_however_large_the_applications_baggage_is_the_decision_arrives(self, chain: Chain) -> None:
        baggage = ",".join(f"k{number}={'x' * 1000}" for number in range(self.thousands))
        _, _, last = chain.ask({**GRAY, "baggage": baggage})
        assert (last["version"], last["reason"]) == ("v2", "inherited")
        assert len(members(last["received"])) > min(self.thousands, 8)

    @pytest.mark.parametrize(("headers", "version"), [(GRAY, "v2"), ({}, "v1")])
    def test_the_spans_of_all_hops_are_one_tree(self, chain: Chain, headers: dict[str, str], version: str) -> None:
        first, _, last = chain.ask(headers)
        assert first["trace"] == last["trace"]

        def servers(spans: list[ExportedSpan]) -> dict[str, ExportedSpan]:
            return {span.service: span for span in spans if span.kind == "server"}

        everyone = {EDGE, NEIGHBOUR, LAST}
        spans = chain.trace(first["trace"], lambda spans: servers(spans).keys() == everyone)
        by_id = {span.span_id: span for span in spans}
        found = servers(spans)
        assert found.keys() == everyone
        assert [span.service for span in spans if not span.parent_id] == [EDGE]
        assert by_id[found[NEIGHBOUR].parent_id].service == EDGE
        caller = by_id[found[LAST].parent_id]
        assert (caller.service, caller.kind) == (NEIGHBOUR, "client")
        for service in (EDGE, LAST):
            assert found[service].gray["gray.context"] == f"checkout={version}"
        assert found[LAST].gray["gray.reason"] == "inherited"
