from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from graymw.demo import chain, people, rules


@pytest.fixture
def path(tmp_path: Path) -> Path:
    copy = tmp_path / "rules.yaml"
    shutil.copyfile(chain.sources() / "rules.yaml", copy)
    return copy


def test_the_example_document_has_no_problem(path: Path) -> None:
    assert rules.problems(path) == []


def test_every_rule_decides_somebody_of_the_cast(path: Path) -> None:
    expected = rules.expected(path, people.cast())
    assert expected["7"] == ("v2", "testers")
    assert expected["40"] == ("v2", "tens")
    assert expected["21"] == ("v2", "mobile-eu")
    assert {version for version, rule in expected.values() if rule == "canary"} == {"v1", "v2"}
    assert expected["alice"][1] == "canary"


def test_raising_the_share_gives_another_revision_and_moves_nobody_out(path: Path) -> None:
    before, first = rules.expected(path, people.crowd(300)), rules.revision(path)
    path.write_text(rules.with_share(path.read_text(), "50%"))
    after = rules.expected(path, people.crowd(300))
    assert rules.revision(path) != first
    assert {uid for uid, (version, _) in before.items() if version == "v2"} < {
        uid for uid, (version, _) in after.items() if version == "v2"
    }


def test_the_slip_of_the_finger_is_a_problem_at_the_named_place(path: Path) -> None:
    path.write_text(rules.with_share(path.read_text(), rules.BROKEN_SHARE))
    (problem,) = rules.problems(path)
    assert rules.BROKEN_PATH in problem


def test_a_document_with_another_shape_is_not_edited_blindly() -> None:
    with pytest.raises(ValueError, match="there are 0"):
        rules.with_share("rules: []", "50%")
