from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import graymw
from graymw.cli.simulate import key_fact
from graymw.core.model import Fact

from .calling import RULES, Call, in_a_terminal

SPLIT = "{schema: 1, releases: {shop: {stable: v1, sticky: [%s], rules: [{name: canary, split: {v2: 10%%}}]}}}"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    path = tmp_path / "split.yaml"
    path.write_text(SPLIT % "user")
    return path


def simulated(call: Call, rules: Path, *arguments: Any) -> dict[str, Any]:
    outcome = call("simulate", "--rules", rules, "--json", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def rule(found: dict[str, Any], name: str | None, release: str = "checkout") -> dict[str, Any]:
    return next(rule for rule in found["releases"][release]["rules"] if rule["rule"] == name)


class TestForMachines:
    def test_shares_by_rule_and_version(self, call: Call, rules: Path) -> None:
        found = simulated(call, rules, "-n", 20_000)
        assert (found["ok"], found["requests"]) == (True, 20_000)
        assert found["revision"] == graymw.load_rules(rules).revision
        assert rule(found, "even-uids") == {
            "rule": "even-uids", "reason": "match", "count": 2_000, "share": 0.1,
            "versions": {"v2": {"count": 2_000, "share": 1.0, "asked": None, "deviations": 0.0, "within": None}},
        }  # fmt: skip
        canary = rule(found, "canary")
        assert (canary["count"], list(canary["versions"])) == (18_000, ["v2", "v3", "v1"])
        assert [version["asked"] for version in canary["versions"].values()] == [0.1, 0.0025, 0.8975]
        assert all(version["within"] for version in canary["versions"].values())
        assert sum(version["count"] for version in found["releases"]["checkout"]["versions"].values()) == 20_000

    def test_the_counts_are_those_of_the_rules(self, call: Call, split: Path) -> None:
        found = simulated(call, split, "-n", 500)
        gray = sum(graymw.bucket("shop", str(user)) < 1_000 for user in range(1, 501))
        assert rule(found, "canary", "shop")["versions"]["v2"]["count"] == gray

    def test_what_no_rule_decides_is_told_too(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "few.yaml"
        path.write_text("{schema: 1, releases: {a: {stable: v1, rules: [{match: {user: '7'}, use: v2}]}}}")
        found = rule(simulated(call, path, "-n", 10), None, "a")
        assert (found["reason"], found["count"]) == ("default", 9)


class TestKeys:
    def test_the_same_seed_draws_the_same_keys(self, call: Call, split: Path) -> None:
        first, again, other = (simulated(call, split, "-n", 2_000, "--seed", seed) for seed in (1, 1, 2))
        assert first == again != other

    def test_given_attributes_belong_to_every_request(self, call: Call, rules: Path) -> None:
        found = simulated(call, rules, "-n", 1_000, "--region", "eu", "-H", "x-device: mobile")
        assert rule(found, "mobile-eu")["count"] == 900
        found = simulated(call, rules, "-n", 100, "-H", "x-gray-version: true")
        assert rule(found, "testers")["count"] == 100

    def test_time_can_be_given(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "timed.yaml"
        path.write_text(
            "{schema: 1, releases: {a: {stable: v1, rules: [{match: {after: '2026-10-01T00:00:00Z'}, use: v2}]}}}"
        )
        for at, version in (("2026-09-30T00:00:00Z", "v1"), ("2026-10-02T00:00:00Z", "v2")):
            assert list(simulated(call, path, "-n", 10, "--at", at)["releases"]["a"]["versions"]) == [version]

    @pytest.mark.parametrize("key", ["ip", "cookie", "header:x-tenant", "cookie:sid", "query:shard"])
    def test_any_sticky_key_can_be_what_differs(self, call: Call, tmp_path: Path, key: str) -> None:
        path = tmp_path / "key.yaml"
        path.write_text(SPLIT % f"'{key}', user")
        versions = rule(simulated(call, path, "-n", 2_000, "--keys", key), "canary", "shop")["versions"]
        assert 0 < versions["v2"]["count"] < 400

    def test_one_user_alone_proves_nothing_against_a_split(self, call: Call, split: Path) -> None:
        versions = rule(simulated(call, split, "-n", 1_000, "--user", "3"), "canary", "shop")["versions"]
        assert sorted(version["count"] for version in versions.values()) == [0, 1_000]

    def test_the_names_of_keys(self) -> None:
        assert key_fact("user") == Fact("user")
        assert key_fact("cookie") == Fact("cookie", "gray_id")
        assert key_fact("header:X-Tenant") == Fact("header", "x-tenant")
        assert key_fact("query:A") == Fact("query", "A")


class TestRecordedRequests:
    def write(self, tmp_path: Path, users: list[int]) -> Path:
        path = tmp_path / "requests.jsonl"
        path.write_text("".join(json.dumps({"headers": {"x-user-id": user}}) + "\n" for user in users))
        return path

    def test_they_are_decided_as_they_are(self, call: Call, rules: Path, tmp_path: Path) -> None:
        path = self.write(tmp_path, [10, 20, 30, 41])
        found = simulated(call, rules, "--requests", path)
        assert (found["requests"], rule(found, "even-uids")["count"], rule(found, "canary")["count"]) == (4, 3, 1)

    def test_shares_that_chance_does_not_explain_are_a_problem(self, call: Call, split: Path, tmp_path: Path) -> None:
        gray = [user for user in range(2_000) if graymw.bucket("shop", str(user)) < 1_000]
        path = self.write(tmp_path, gray)
        outcome = call("simulate", "--rules", split, "--requests", path)
        assert outcome.code == 1
        assert re.search(r"v2 +10% +100\.00% +no, \d+\.\d σ", outcome.out)
        found = json.loads(call("simulate", "--rules", split, "--requests", path, "--json").out)
        assert (found["ok"], rule(found, "canary", "shop")["versions"]["v2"]["within"]) == (False, False)

    def test_users_that_come_often_count_as_one_draw(self, call: Call, split: Path, tmp_path: Path) -> None:
        gray = next(user for user in range(2_000) if graymw.bucket("shop", str(user)) < 1_000)
        path = self.write(tmp_path, [gray] * 1_000)
        assert rule(simulated(call, split, "--requests", path), "canary", "shop")["versions"]["v2"]["within"] is True

    def test_a_bad_line_is_told(self, call: Call, split: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.jsonl").write_text('{}\n{"usr": 1}\n')
        outcome = call("simulate", "--rules", split, "--requests", "bad.jsonl")
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err == "graymw: bad.jsonl:2: unknown key 'usr'; did you mean user?\n"

    def test_an_empty_file_is_wrong_use(self, call: Call, split: Path, tmp_path: Path) -> None:
        outcome = call("simulate", "--rules", split, "--requests", self.write(tmp_path, []))
        assert (outcome.code, outcome.out) == (2, "")

    def test_they_are_not_to_be_described_as_well(self, call: Call, split: Path, tmp_path: Path) -> None:
        outcome = call("simulate", "--rules", split, "--requests", self.write(tmp_path, [1]), "--region", "eu")
        assert outcome.code == 2
        assert "--requests brings its own requests" in outcome.err


class TestForPeople:
    def test_asked_and_reached_stand_side_by_side(self, call: Call, rules: Path) -> None:
        outcome = call("simulate", "--rules", rules, "-n", 10_000)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith("10,000 requests, revision ")
        assert re.search(r"canary +9,000 +90\.00% +v2 +10% +\d+\.\d\d% +yes, \d\.\d σ", outcome.out)
        assert re.search(r"even-uids +1,000 +10\.00% +v2 *$", outcome.out, re.MULTILINE)
        assert max(map(len, outcome.lines)) <= 80

    def test_one_release_can_be_picked(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "two.yaml"
        path.write_text("{schema: 1, releases: {a: {stable: v1, services: [x]}, b: {stable: v1, services: [y]}}}")
        outcome = call("simulate", "--rules", path, "-n", 10, "--release", "b")
        assert "b: v1 100.00%" in outcome.out
        assert "a: " not in outcome.out

    def test_without_a_release_there_is_nothing_to_decide(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "none.yaml"
        path.write_text("{schema: 1, releases: {}}")
        outcome = call("simulate", "--rules", path, "-n", 10)
        assert outcome.code == 0
        assert "nothing to decide" in outcome.out

    def test_a_terminal_sees_progress_and_pipes_stay_clean(self, rules: Path) -> None:
        code, out, shown = in_a_terminal("simulate", "--rules", str(rules), "--json")
        assert code == 0
        assert "deciding" in shown
        assert "100000/100000" in shown
        assert json.loads(out)["requests"] == 100_000


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--keys", "uid"], "write user, ip, cookie, header:NAME, cookie:NAME or query:NAME"),
        (["--keys", "header:"], "write user, ip, cookie, header:NAME"),
        (["-n", "0"], "--count"),
        (["--release", "nope"], "has no release 'nope'"),
        (["--header", "x"], "write it like --header 'x-user-id: 40'"),
        (["--requests", "none.jsonl"], "there is no file none.jsonl"),
    ],
)
def test_wrong_use_is_told_with_the_right_form(call: Call, rules: Path, arguments: list[str], told: str) -> None:
    outcome = call("simulate", "--rules", rules, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


def test_rules_may_come_from_standard_input(call: Call) -> None:
    assert call("simulate", "--rules", "-", "-n", 10, stdin=RULES).code == 0
