from __future__ import annotations

from typing import Any

import pytest

from graymw.core.document import parse
from graymw.editing.changes import ChangeError, promote, set_shares, switch


def tree(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    checkout = {"services": ["orders"], "stable": "v1", "rules": list(rules), **more}
    return {"schema": 1, "releases": {"checkout": checkout, "search": {"services": ["find"], "stable": "v1"}}}


def rules(changed: dict[str, Any]) -> Any:
    parse(changed)  # whatever is changed stays a document that can be read
    return changed["releases"]["checkout"]["rules"]


TESTERS = {"name": "testers", "match": {"user": "7"}, "use": "v2"}


def canary(**split: str) -> dict[str, Any]:
    return {"name": "canary", "split": dict(split)}


def test_a_share_is_set_in_its_place() -> None:
    changed = tree(TESTERS, canary(v2="10%", v3="5%"))
    set_shares(changed, "checkout", {"v2": "20%"})
    assert rules(changed) == [TESTERS, canary(v2="20%", v3="5%")]


def test_a_new_version_comes_last_so_that_nobody_moves() -> None:
    changed = tree(canary(v3="5%"))
    set_shares(changed, "checkout", {"v2": "1%"})
    assert list(rules(changed)[0]["split"]) == ["v3", "v2"]


def test_a_release_without_a_split_gets_one_behind_its_rules() -> None:
    changed = tree({**TESTERS, "name": "canary"})
    set_shares(changed, "checkout", {"v2": "1%"})
    assert rules(changed)[1:] == [{"name": "canary-2", "split": {"v2": "1%"}}]
    set_shares(changed, "search", {"v9": "1%"})
    assert parse(changed)


def test_one_of_several_splits_must_be_named() -> None:
    eu = {"name": "eu", "match": {"region": "eu"}, "split": {"v2": "1%"}}
    changed = tree(eu, canary(v2="2%"))
    with pytest.raises(ChangeError, match="several splits: eu, canary; say which one by --rule"):
        set_shares(changed, "checkout", {"v2": "3%"})
    set_shares(changed, "checkout", {"v2": "3%"}, rule="eu")
    assert [rule["split"]["v2"] for rule in rules(changed)] == ["3%", "2%"]
    with pytest.raises(ChangeError, match="no rule us with a split; it has eu, canary"):
        set_shares(changed, "checkout", {"v2": "3%"}, rule="us")


def test_a_release_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ChangeError, match="the rules have no release chekout; it has checkout, search"):
        set_shares(tree(), "chekout", {"v2": "3%"})
    with pytest.raises(ChangeError, match="it has none"):
        promote({"schema": 1}, "checkout")


def test_switching_off_and_on() -> None:
    changed = tree(TESTERS)
    switch(changed, [], on=False)
    assert [release.enabled for release in parse(changed).releases] == [False, False]
    switch(changed, ["search"], on=True)
    assert changed == {**tree(TESTERS), "releases": {**tree(TESTERS, enabled=False)["releases"]}}


def test_promoting_makes_the_gray_version_stable_and_drops_what_it_needed() -> None:
    changed = tree(TESTERS, canary(v2="10%"))
    assert promote(changed, "checkout") == "v2"
    parse(changed)
    assert changed["releases"]["checkout"] == {"services": ["orders"], "stable": "v2"}


def test_a_rule_that_keeps_its_requests_from_later_ones_stays() -> None:
    changed = tree(TESTERS, canary(v2="10%", v3="5%"))
    assert promote(changed, "checkout", "v2") == "v2"
    assert rules(changed) == [TESTERS, canary(v3="5%")]


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("", "several gray versions: v2, v3; say which one"),
        ("v1", "v1 is the stable version of release checkout already"),
        ("v9", "no rule of release checkout knows version v9; it knows v2, v3"),
    ],
)
def test_what_cannot_be_promoted(version: str, told: str) -> None:
    with pytest.raises(ChangeError, match=told):
        promote(tree(TESTERS, canary(v3="5%")), "checkout", version)


def test_a_release_without_gray_versions_has_nothing_to_promote() -> None:
    with pytest.raises(ChangeError, match="release checkout has no gray version to promote"):
        promote(tree(), "checkout")
