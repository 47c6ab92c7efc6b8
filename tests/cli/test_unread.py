from __future__ import annotations

from pathlib import Path

import pytest

from .calling import Call


def told(call: Call, rules: Path, *arguments: str) -> list[str]:
    outcome = call("explain", "--rules", rules, *arguments)
    assert outcome.code == 0
    return outcome.err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "kind", "typed", "meant"),
    [
        (["--header", "X-Usr-Id: 40"], "header", "x-usr-id", "x-user-id"),
        (["--header", "x-gray-verison: true"], "header", "x-gray-verison", "x-gray-version"),
        (["--header", "x-regoin: eu"], "header", "x-regoin", "x-region"),
        (["--header", "user_agent: curl"], "header", "user_agent", "user-agent"),
        (["--header", "x-forward-for: 10.0.0.1"], "header", "x-forward-for", "x-forwarded-for"),
        (["--cookie", "gray-id=a"], "cookie", "gray-id", "gray_id"),
        (["--cookie", "regoin=eu"], "cookie", "regoin", "region"),
        (["--path", "/cart?uidd=40"], "query parameter", "uidd", "uid"),
    ],
)
def test_a_name_that_is_all_but_one_that_is_read_is_told(
    call: Call, tmp_path: Path, arguments: list[str], kind: str, typed: str, meant: str
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "{schema: 1, releases: {checkout: {stable: v1, rules: ["
        "{match: {header: {x-gray-version: yes}, region: eu, device: mobile, ip: 10.0.0.1}, use: v2},"
        "{split: {v2: 10%}}"
        "]}}}"
    )
    assert told(call, rules, *arguments) == [f"graymw: nothing reads the {kind} {typed}; did you mean {meant}?"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--header", "x-user-id: 40", "--header", "x-gray-version: true", "--cookie", "gray_id=a", "--query", "uid=4"],
        ["--header", "accept: */*", "--header", "user-agent: curl/8", "--host", "shop", "--cookie", "theme=dark"],
        ["--header", "x-forwarded-for: 10.0.0.1", "--header", "forwarded: for=10.0.0.1"],
    ],
)
def test_what_is_read_and_what_is_like_nothing_that_is_read_is_left_in_peace(
    call: Call, rules: Path, arguments: list[str]
) -> None:
    assert told(call, rules, *arguments) == []


def test_a_name_for_a_fact_that_no_rule_reads_is_left_in_peace(call: Call, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("{schema: 1, releases: {checkout: {stable: v1, rules: [{match: {path: /}, use: v2}]}}}")
    assert told(call, rules, "--header", "x-regoin: eu") == []


def test_where_an_expression_sees_every_header_all_are_read(call: Call, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "schema: 1\nreleases:\n  checkout:\n    stable: v1\n    sticky: [user]\n    rules:\n"
        "      - {when: \"request.headers.exists(name, name.startsWith('x-usr'))\", use: v2}\n"
        "      - split: {v2: 10%}\n"
    )
    assert told(call, rules, "--header", "x-usr-id: 40") == []


def test_json_stays_json(call: Call, rules: Path) -> None:
    outcome = call("explain", "--rules", rules, "--json", "--header", "x-usr-id: 40")
    assert outcome.out.startswith("{")
    assert "x-user-id" in outcome.err


def test_simulated_requests_are_looked_at_alike(call: Call, rules: Path) -> None:
    outcome = call("simulate", "--rules", rules, "--count", "100", "--header", "x-gray-verison: true")
    assert outcome.err == "graymw: nothing reads the header x-gray-verison; did you mean x-gray-version?\n"
