from __future__ import annotations

import json
from pathlib import Path

import pytest

from .calling import RULES, Call


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.yaml"
    path.write_text(RULES.replace("v2: 10%", "v2: 30%"))
    return path


def test_it_tells_who_moves_from_where_to_where(call: Call, rules: Path, other: Path) -> None:
    outcome = call("diff", rules, other)
    assert outcome.code == 0
    assert "10000 requests; revision" in outcome.lines[0]
    assert any(line.split()[:3] == ["checkout", "v1", "v2"] for line in outcome.lines)
    assert outcome.lines[-1].startswith("checkout: v1 80.48 % → ")


def test_json_tells_the_same(call: Call, rules: Path, other: Path) -> None:
    told = json.loads(call("diff", rules, other, "--json", "-n", "2000").out)
    checkout = told["releases"]["checkout"]
    assert (told["ok"], told["requests"]) == (True, 2000)
    assert sum(checkout["before"].values()) == sum(checkout["after"].values()) == 2000
    moved = {(move["before"], move["after"]): move["count"] for move in checkout["moves"]}
    assert set(moved) <= {("v1", "v2"), ("v3", "v2"), ("v1", "v3")}
    assert checkout["moved"] == told["moved"] == pytest.approx(sum(moved.values()) / 2000)


def test_equal_documents_move_nobody(call: Call, rules: Path) -> None:
    assert "nobody moves" in call("diff", rules, rules).out


def test_recorded_traffic_decides_who_counts(call: Call, rules: Path, other: Path, tmp_path: Path) -> None:
    traffic = tmp_path / "requests.jsonl"
    lines = [{"headers": {"x-gray-version": "true", "x-user-id": str(number)}} for number in range(50)]
    traffic.write_text("\n".join(map(json.dumps, lines)))
    told = json.loads(call("diff", rules, other, "--traffic", traffic, "--json").out)
    assert (told["requests"], told["moved"]) == (50, 0.0)
    assert told["releases"]["checkout"]["after"] == {"v2": 50}


@pytest.mark.parametrize(("limit", "code"), [("50%", 0), ("5%", 1), ("0%", 1)])
def test_over_a_limit_ci_stops(call: Call, rules: Path, other: Path, limit: str, code: int) -> None:
    outcome = call("diff", rules, other, "--limit", limit)
    assert outcome.code == code
    assert ("more than the limit of" in outcome.lines[-1]) is bool(code)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--limit", "5"], "'5' is no limit; write a percentage such as 5%"),
        (["--limit", "101%"], "is no limit"),
        (["--release", "search"], "neither document has a release search; they have checkout"),
        (["--traffic", "missing.jsonl"], "there is no file missing.jsonl"),
        (["--traffic", "empty.jsonl"], "empty.jsonl holds no request; record one a line"),
    ],
)
def test_wrong_use_gets_one_sentence(call: Call, rules: Path, other: Path, arguments: list[str], told: str) -> None:
    (rules.parent / "empty.jsonl").write_text("\n")
    outcome = call("diff", rules, other, *arguments)
    assert outcome.code == 2
    assert told in outcome.err


def test_a_document_with_faults_is_told(call: Call, rules: Path, other: Path) -> None:
    other.write_text("releases: []")
    outcome = call("diff", rules, other)
    assert outcome.code == 1
    assert "other.yaml:1" in outcome.err
