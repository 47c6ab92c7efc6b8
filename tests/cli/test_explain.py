from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graymw
from graymw.core.document import parse

from .calling import RULES, Call, in_a_terminal

REVISION = parse(RULES).revision


def decisions(call: Call, rules: Path, *arguments: str) -> dict[str, Any]:
    outcome = call("explain", "--rules", rules, "--json", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)["decisions"]
    return found


class TestForMachines:
    def test_json_has_exactly_what_the_contract_says(self, call: Call, rules: Path) -> None:
        outcome = call("explain", "--rules", rules, "--header", "x-user-id: 40", "--json")
        assert json.loads(outcome.out) == {
            "revision": REVISION,
            "decisions": {
                "checkout": {
                    "version": "v2",
                    "reason": "match",
                    "rule": "even-uids",
                    "bucket": graymw.bucket("checkout", "40"),
                }
            },
        }

    def test_without_a_key_there_is_a_bucket_only_where_a_split_needs_one(self, call: Call, rules: Path) -> None:
        assert decisions(call, rules, "-H", "x-gray-version: true")["checkout"]["bucket"] is None
        assert 0 <= decisions(call, rules)["checkout"]["bucket"] < 10_000

    @given(uid=st.integers(-(10**6), 10**6), region=st.sampled_from([None, "eu", "us"]), tester=st.booleans())
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
    def test_it_says_what_the_rules_decide(
        self, call: Call, rules: Path, uid: int, region: str | None, tester: bool
    ) -> None:
        headers = {"x-user-id": str(uid)} | ({"x-gray-version": "true"} if tester else {})
        arguments = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
        found = decisions(call, rules, *arguments, *(["--region", region] if region else []), "--device", "mobile")
        facts = graymw.RequestFacts(headers=headers, user=str(uid), region=region, device="mobile")
        decided = graymw.load_rules(rules).decide(facts).decisions["checkout"]
        assert found["checkout"]["version"] == decided.version
        assert (found["checkout"]["reason"], found["checkout"]["rule"]) == (decided.reason, decided.rule)


def test_baggage_that_names_no_decision_is_told(call: Call, rules: Path) -> None:
    outcome = call("explain", "--rules", rules, "--baggage", "checkout=v2")
    assert outcome.err == "graymw: --baggage names no decision; write it like gray.checkout=v2\n"


@pytest.mark.parametrize("ip", ["999", "192.0.2.7:80", "host"])
def test_what_is_no_address_is_wrong_use(call: Call, rules: Path, ip: str) -> None:
    outcome = call("explain", "--rules", rules, "--ip", ip)
    assert outcome.code == 2
    assert f"'{ip}' is no address; write it like 203.0.113.7" in outcome.err


class TestFacts:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["--user", "40"],
            ["--header", "X-User-Id: 40"],
            ["--cookie", "uid=40"],
            ["--header", "cookie: a=b; uid=40"],
            ["--query", "uid=40"],
            ["--path", "/cart?uid=40"],
            ["--url", "https://shop.example/cart?uid=40"],
        ],
    )
    def test_the_user_is_found_as_in_a_live_request(self, call: Call, rules: Path, arguments: list[str]) -> None:
        assert decisions(call, rules, *arguments)["checkout"]["rule"] == "even-uids"

    def test_where_it_stands_is_up_to_the_settings(
        self, call: Call, rules: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRAYMW_USER", "header:x-account")
        assert decisions(call, rules, "-H", "x-account: 40")["checkout"]["rule"] == "even-uids"
        assert decisions(call, rules, "-H", "x-user-id: 40")["checkout"]["rule"] == "canary"

    @pytest.mark.parametrize(
        ("match", "arguments"),
        [
            ("{region: eu}", ["--region", "eu"]),
            ("{device: tablet}", ["--device", "tablet"]),
            ("{ip: {cidr: 192.0.2.0/24}}", ["--ip", "192.0.2.7"]),
            ("{method: POST}", ["--method", "post"]),
            ("{host: shop.example}", ["--host", "Shop.Example:8443"]),
            ("{path: /cart}", ["--path", "/cart?x=1"]),
            ("{cookie: {a: b}}", ["--cookie", "a=b"]),
            ("{query: {a: b}}", ["--query", "a=b"]),
            ('{after: "2026-10-01T00:00:00Z"}', ["--at", "2026-10-01T00:00:00Z"]),
            ('{before: "2026-10-01T00:00:00Z"}', ["--at", "2026-09-30T23:59:59Z"]),
        ],
    )
    def test_every_fact_can_be_given(self, call: Call, tmp_path: Path, match: str, arguments: list[str]) -> None:
        path = tmp_path / "one.yaml"
        path.write_text(f"{{schema: 1, releases: {{a: {{stable: v1, rules: [{{match: {match}, use: v2}}]}}}}}}")
        assert decisions(call, path, *arguments)["a"]["version"] == "v2"

    def test_what_an_upstream_decided_is_inherited(self, call: Call, rules: Path) -> None:
        for given_ in (["--baggage", "gray.checkout=v2,gray-rev=0a0a0a0a"], ["-H", "baggage: gray.checkout=v2,a=b"]):
            found = decisions(call, rules, *given_, "--user", "41")
            assert (found["checkout"]["version"], found["checkout"]["reason"]) == ("v2", "inherited")

    def test_baggage_that_cannot_be_read_is_told(self, call: Call, rules: Path) -> None:
        outcome = call("explain", "--rules", rules, "--baggage", "gray.checkout=v 2", "--user", "40", "--json")
        assert outcome.code == 0
        assert json.loads(outcome.out)["decisions"]["checkout"]["reason"] == "match"
        assert "some of the baggage is ignored (bad-version)" in outcome.err


class TestForPeople:
    def test_each_rule_says_why(self, call: Call, rules: Path) -> None:
        outcome = call("explain", "--rules", rules, "--user", "40", "--region", "eu")
        assert (outcome.code, outcome.err) == (0, "")
        told = " ".join(outcome.out.split())
        assert f"GET /, user 40, region eu, revision {REVISION}" in told
        assert "checkout: v2 match by rule even-uids, gray" in told
        assert f"bucket {graymw.bucket('checkout', '40')} of 10000, of seed checkout and key '40' (user)" in told
        for rule, result in (("testers", "no"), ("even-uids", "decides"), ("mobile-eu", "no"), ("canary", "too late")):
            assert re.search(rf"^ {rule} +{result} ", outcome.out, re.MULTILINE)
        assert "device is absent" in told
        assert "v2 0-999" in told

    def test_it_fits_into_80_columns(self, call: Call, rules: Path) -> None:
        outcome = call("explain", "--rules", rules, "--user", "4" * 200, "--region", "eu")
        assert max(map(len, outcome.lines)) <= 80
        assert "4" * 40 in outcome.out

    def test_without_a_terminal_there_is_no_colour(self, call: Call, rules: Path) -> None:
        assert "\x1b" not in call("explain", "--rules", rules, "--user", "40").out

    def test_in_a_terminal_there_is_colour_unless_it_is_unwanted(self, rules: Path) -> None:
        arguments = ("explain", "--rules", str(rules), "--user", "40")
        coloured, plain = (in_a_terminal(*arguments, both=True, **environ) for environ in ({}, {"NO_COLOR": "1"}))
        assert re.search(r"\x1b\[[0-9;]*3[0-9]m", coloured[2])
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain[2])
        assert "even-uids" in plain[2]

    def test_markup_in_values_is_text(self, call: Call, rules: Path) -> None:
        assert "user [red]x[/red]," in call("explain", "--rules", rules, "--user", "[red]x[/red]").out

    def test_the_release_of_this_service_is_pointed_out(
        self, call: Call, rules: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "governs this service" in call("explain", "--rules", rules, "--service", "orders").out
        assert "governs this service" not in call("explain", "--rules", rules, "--service", "search").out
        monkeypatch.setenv("GRAYMW_SERVICE", "payments")
        assert "governs this service" in call("explain", "--rules", rules).out

    def test_a_fresh_key_is_called_that(self, call: Call, rules: Path) -> None:
        told = " ".join(call("explain", "--rules", rules).out.split())
        assert "(a gray_id cookie that the response would set)" in told

    def test_a_disabled_release_needs_no_rules(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "off.yaml"
        path.write_text("{schema: 1, releases: {a: {stable: v1, enabled: false, rules: [{use: v2}]}}}")
        assert "a: v1  disabled" in call("explain", "--rules", path).out

    def test_no_release_is_no_decision(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "none.yaml"
        path.write_text("{schema: 1, releases: {}}")
        assert "no release, so no decision" in call("explain", "--rules", path).out


class TestRules:
    def test_they_may_come_from_standard_input(self, call: Call) -> None:
        outcome = call("explain", "--rules", "-", "--user", "40", "--json", stdin=RULES)
        assert json.loads(outcome.out)["revision"] == REVISION

    def test_they_may_be_those_of_this_environment(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_GRAY_WHEN", "uid % 10 == 0")
        found = json.loads(call("explain", "--user", "40", "--json").out)["decisions"]
        assert found == {
            "default": {"version": "v2", "reason": "match", "rule": "when", "bucket": found["default"]["bucket"]}
        }

    def test_one_release_can_be_picked(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "two.yaml"
        path.write_text("{schema: 1, releases: {a: {stable: v1, services: [x]}, b: {stable: v1, services: [y]}}}")
        assert list(decisions(call, path)) == ["a", "b"]
        assert list(decisions(call, path, "--release", "b")) == ["b"]
        outcome = call("explain", "--rules", path, "--release", "c")
        assert (outcome.code, outcome.out) == (2, "")
        assert "has no release 'c': name one of a, b" in outcome.err

    def test_bad_ones_are_told_line_by_line(self, call: Call, rules: Path) -> None:
        rules.write_text(RULES.replace("10%", "100%").replace("uid % 10", "uid %"))
        outcome = call("explain", "--rules", rules, "--user", "40", "--json")
        assert (outcome.code, outcome.out) == (1, "")
        assert len(outcome.err.splitlines()) == 2
        assert outcome.err.startswith(f"{rules}:11: releases.checkout.rules[1].when: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--header", "x-user-id 40"], "write it like --header 'x-user-id: 40'"),
        (["--cookie", "uid"], "write it like --cookie uid=40"),
        (["--query", "uid"], "write it like --query uid=40"),
        (["--at", "noon"], "--at needs an RFC 3339 time"),
        (["--url", "http://[::1/"], "is no path and no URL"),
        (["--rules", "none.yaml"], "there is no rule document none.yaml"),
    ],
)
def test_wrong_use_is_told_with_the_right_form(call: Call, rules: Path, arguments: list[str], told: str) -> None:
    outcome = call("explain", "--rules", rules, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
