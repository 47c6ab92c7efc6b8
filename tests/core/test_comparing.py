from __future__ import annotations

from typing import Any

import pytest

from graymw.core.comparing import Comparison, Move, compare
from graymw.core.document import parse
from graymw.core.facts import RequestFacts


def document(*rules: dict[str, Any], name: str = "checkout", **more: Any) -> dict[str, Any]:
    return {"schema": 1, "releases": {name: {"stable": "v1", "rules": list(rules), **more}}}


def users(count: int) -> list[RequestFacts]:
    return [RequestFacts(user=str(number)) for number in range(count)]


def compared(before: dict[str, Any], after: dict[str, Any], requests: list[RequestFacts]) -> Comparison:
    return compare(parse(before), parse(after), requests, clock=lambda: 0.0)


def test_raising_a_share_moves_only_those_who_join() -> None:
    found = compared(document({"split": {"v2": "10%"}}), document({"split": {"v2": "30%"}}), users(2_000))
    (release,) = found.releases
    (move,) = release.moves
    assert (move.before, move.after) == ("v1", "v2")
    assert move.count == release.after["v2"] - release.before["v2"]
    assert found.moved == release.moved == pytest.approx(0.2, abs=0.03)
    assert sum(release.before.values()) == sum(release.after.values()) == found.requests == 2_000


def test_equal_documents_move_nobody_even_without_a_key() -> None:
    same = document({"split": {"v2": "50%"}})
    found = compared(same, same, [RequestFacts() for _ in range(200)])
    (release,) = found.releases
    assert release.moves == ()
    assert 0 < release.before["v2"] < 200


def test_an_order_of_shares_that_changes_moves_people_between_them() -> None:
    found = compared(
        document({"split": {"v2": "50%", "v3": "50%"}}), document({"split": {"v3": "50%", "v2": "50%"}}), users(100)
    )
    assert found.moved == 1.0
    assert {(move.before, move.after) for move in found.releases[0].moves} == {("v2", "v3"), ("v3", "v2")}


def test_a_release_of_one_document_alone() -> None:
    found = compared(document(name="old", services=["a"]), document(name="new", services=["b"]), users(4))
    assert [(release.release, release.before, release.after) for release in found.releases] == [
        ("new", {}, {"v1": 4}),
        ("old", {"v1": 4}, {}),
    ]
    assert found.releases[0].moves == (Move(None, "v1", 4, 1.0),)


def test_without_requests_nothing_moves() -> None:
    found = compared(document(), document(), [])
    assert (found.requests, found.moved) == (0, 0.0)
