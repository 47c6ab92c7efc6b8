from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graymw

from .calling import Call


def test_buckets_of_keys_under_a_seed(call: Call) -> None:
    outcome = call("bucket", "checkout", "40", "41")
    assert outcome.code == 0
    assert outcome.lines == [f"{graymw.bucket('checkout', key):4} {key}" for key in ("40", "41")]


def test_json_tells_seed_and_buckets(call: Call) -> None:
    outcome = call("bucket", "checkout", "40", "--json")
    assert json.loads(outcome.out) == {"seed": "checkout", "buckets": {"40": graymw.bucket("checkout", "40")}}


@given(seed=st.text(min_size=1), key=st.text(min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_text_is_a_key(call: Call, seed: str, key: str) -> None:
    outcome = call("bucket", "--json", "--", seed, key)
    assert json.loads(outcome.out)["buckets"] == {key: graymw.bucket(seed, key)}


class TestOfARelease:
    def test_the_seed_is_the_release_s_and_the_split_gives_versions(self, call: Call, rules: Path) -> None:
        keys = [str(uid) for uid in range(200)]
        outcome = call("bucket", "--rules", rules, "--json", *keys)
        found = json.loads(outcome.out)
        assert (found["release"], found["seed"]) == ("checkout", "checkout")
        for key in keys:
            number = graymw.bucket("checkout", key)
            expected = "v2" if number < 1000 else "v3" if number < 1025 else "v1"
            assert found["buckets"][key] == number
            assert found["versions"][key] == {"canary": expected}

    def test_people_see_a_table(self, call: Call, rules: Path) -> None:
        outcome = call("bucket", "--rules", rules, "40")
        assert "release checkout, seed checkout" in outcome.out
        assert "rule canary" in outcome.out
        assert str(graymw.bucket("checkout", "40")) in outcome.out

    def test_the_rules_of_the_environment_serve_too(
        self, call: Call, rules: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRAYMW_RULES", str(rules))
        outcome = call("bucket", "--release", "checkout", "40", "--json")
        assert json.loads(outcome.out)["seed"] == "checkout"

    def test_several_releases_ask_for_a_choice(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "two.yaml"
        path.write_text("releases: {a: {stable: v1, services: [x]}, b: {stable: v1, services: [y]}}")
        outcome = call("bucket", "--rules", path, "40")
        assert (outcome.code, outcome.out) == (2, "")
        assert "choose with --release, of a, b" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "write graymw bucket SEED KEY..."),
        (["seed"], "write graymw bucket SEED KEY..."),
        (["--rules", "rules.yaml"], "write graymw bucket --release RELEASE KEY..."),
        (["--rules", "none.yaml", "40"], "there is no rule document none.yaml"),
        (["--rules", "rules.yaml", "--release", "nope", "40"], "has no release 'nope': name one of checkout"),
        (["--release", "checkout", "40"], "no rules here"),
    ],
)
def test_wrong_use_is_told_with_the_mend(call: Call, rules: Path, arguments: list[str], told: str) -> None:
    outcome = call("bucket", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
