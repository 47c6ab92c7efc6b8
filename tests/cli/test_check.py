from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from .calling import Call

TEN_FAULTS = """\
schema: 1
releases:
  checkout:
    services: [orders, payments]
    stable: 1.10
    stiky: [user, cookie]
    fallback: stabel
    versions:
      payments: {v2: 3.20}
    rules:
      - name: testers
        match: {header: {x-gray-version: true}}
        use: v2
      - name: office
        match: {ip: {cidr: 10.1.2.3/8}}
        use: v2
      - name: insiders
        match: {user: {regex: "^(alice|bob"}}
        use: v2
      - name: even-uids
        when: uid % 10 = 0
        use: v2
      - name: autumn
        match: {after: "2026-10-01T00:00:00Z", before: "2026-09-01T00:00:00Z"}
        use: v2
      - name: canary
        split: {v2: 80%, v3: 25%}
"""


class TestADocument:
    def test_ten_faults_are_ten_lines_with_file_line_path_and_mend(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "ten.yaml").write_text(TEN_FAULTS)
        outcome = call("check", "ten.yaml")
        assert outcome.code == 1
        assert len(outcome.lines) == 10
        for line in outcome.lines:
            assert re.fullmatch(r"ten\.yaml:\d+: releases\.checkout\.\S+: .+; .+", line)
        assert [int(line.split(":")[1]) for line in outcome.lines] == [5, 6, 7, 9, 12, 15, 18, 21, 24, 27]

    def test_a_good_one_is_summed_up(self, call: Call, rules: Path) -> None:
        outcome = call("check", rules.name)
        assert (outcome.code, outcome.err) == (0, "")
        told = " ".join(outcome.out.split())
        for word in ("checkout", "orders, payments", "v1", "testers, even-uids,", "v2 10%, v3 0.25%"):
            assert word in told
        assert re.search(r"rules\.yaml: 1 release, revision [0-9a-f]{8}, no problems", told)
        assert max(map(len, outcome.lines)) <= 80

    def test_standard_input_is_a_document_too(self, call: Call, rules: Path) -> None:
        outcome = call("check", "-", stdin=rules.read_text())
        assert outcome.code == 0
        assert "stdin: 1 release" in outcome.out
        outcome = call("check", "-", stdin="{schema: 1, releases: {a: {}}}")
        assert outcome.code == 1
        assert outcome.out.startswith("stdin:1: releases.a: ")

    def test_the_environment_does_not_matter(self, call: Call, rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_TRUST", "everyone")
        assert call("check", rules).code == 0

    def test_json_names_releases_and_revision(self, call: Call, rules: Path) -> None:
        found = json.loads(call("check", rules, "--json").out)
        assert found["ok"] is True
        assert found["problems"] == []
        assert found["releases"]["checkout"] == {
            "services": ["orders", "payments"],
            "stable": "v1",
            "enabled": True,
            "rules": ["testers", "even-uids", "mobile-eu", "canary"],
            "shares": {"canary": {"v2": 10.0, "v3": 0.25}},
        }
        assert re.fullmatch(r"[0-9a-f]{8}", found["revision"])

    def test_json_has_each_problem_in_parts(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "ten.yaml").write_text(TEN_FAULTS)
        outcome = call("check", "ten.yaml", "--json")
        found = json.loads(outcome.out)
        assert (outcome.code, found["ok"], found["revision"], len(found["problems"])) == (1, False, None, 10)
        assert found["problems"][1] == {
            "origin": "ten.yaml",
            "line": 6,
            "path": "releases.checkout.stiky",
            "message": "unknown key 'stiky'",
            "mend": "did you mean sticky?",
            "severity": "error",
        }


class TestWarnings:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "prefix.yaml"
        path.write_text(
            "schema: 1\nreleases:\n  a:\n    stable: v1\n    rules:\n"
            "      - match: {path: {regex: '^/api'}}\n        use: v2\n"
        )
        return path

    def test_they_are_told_and_do_not_count(self, call: Call, path: Path) -> None:
        outcome = call("check", path.name)
        assert outcome.code == 0
        assert outcome.lines[0].startswith("prefix.yaml:6: warning: releases.a.rules[0].match.path.regex: ")
        assert "1 release, revision" in outcome.out
        assert outcome.lines[-1].endswith("1 warning")

    def test_strictness_makes_them_count(self, call: Call, path: Path) -> None:
        assert call("check", "--strict", path).code == 1
        found = json.loads(call("check", "--strict", "--json", path).out)
        assert (found["ok"], found["problems"][0]["severity"]) == (False, "warning")


class TestThisEnvironment:
    def test_the_rules_of_the_settings_are_checked(self, call: Call, rules: Path, tmp_path: Path) -> None:
        (tmp_path / "graymw.yaml").write_text("rules: rules.yaml\n")
        outcome = call("check")
        assert (outcome.code, outcome.err) == (0, "")
        assert f"{rules}: 1 release" in outcome.out

    def test_settings_that_are_refused_are_listed(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_TRUST", "everyone")
        monkeypatch.setenv("GRAYMW_VERSON", "v1")
        outcome = call("check")
        assert outcome.code == 1
        assert sorted(outcome.lines) == [
            "GRAYMW_TRUST: 'everyone' is no kind of trust; write private, none, all or signed",
            "GRAYMW_VERSON: there is no such setting; did you mean GRAYMW_VERSION?",
        ]

    def test_a_malformed_settings_file_is_told_with_its_line(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "graymw.yaml").write_text("service: orders\nrules: [\n")
        outcome = call("check")
        assert outcome.code == 1
        assert re.match(rf"{tmp_path}/graymw\.yaml:\d+: malformed", outcome.lines[0])

    def test_the_short_form_s_problems_name_the_setting(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_GRAY_WHEN", "uid % 10 = 0")
        outcome = call("check")
        assert (outcome.code, len(outcome.lines)) == (1, 1)
        assert outcome.lines[0].startswith("GRAYMW_GRAY_WHEN: bad expression: ")

    def test_the_short_form_is_summed_up_like_a_file(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_GRAY_RATIO", "10%")
        outcome = call("check")
        assert outcome.code == 0
        assert "v2 10%" in outcome.out

    @pytest.mark.parametrize("setting", ["GRAYMW_RULES", "GRAYMW_REGISTRY"])
    def test_a_scheme_that_nothing_speaks_is_told(
        self, call: Call, monkeypatch: pytest.MonkeyPatch, setting: str
    ) -> None:
        monkeypatch.setenv(setting, "carrier-pigeon://loft")
        outcome = call("check")
        assert outcome.code == 1
        assert outcome.lines[0].startswith(f"{setting}: ")
        assert "carrier-pigeon" in outcome.out

    def test_rules_that_are_not_there_are_told(
        self, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("GRAYMW_RULES", "gone.yaml")
        outcome = call("check")
        assert outcome.code == 1
        assert outcome.lines == [
            f"GRAYMW_RULES: {tmp_path}/gone.yaml holds no rule document; mend GRAYMW_RULES, or put one there"
        ]

    def test_warnings_of_settings_are_told(self, call: Call, rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_RULES", str(rules))
        monkeypatch.setenv("GRAYMW_SECRET", "short")
        outcome = call("check")
        assert outcome.code == 0
        assert outcome.lines[0].startswith("GRAYMW_SECRET: warning: ")
        assert "short" not in outcome.lines[0].replace("so short", "")

    def test_nothing_to_check_is_wrong_use(self, call: Call) -> None:
        outcome = call("check")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("graymw: no rules here: name a rule document, or set GRAYMW_RULES")


def test_a_file_that_is_not_there_is_wrong_use(call: Call) -> None:
    outcome = call("check", "none.yaml")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "graymw: there is no rule document none.yaml; name one that exists, or - for standard input\n"


def test_a_directory_is_no_rule_document(call: Call, tmp_path: Path) -> None:
    outcome = call("check", ".")
    assert outcome.code == 1
    assert outcome.lines == [f".: {tmp_path} is a directory, not a file: name the file itself"]


def test_a_file_that_cannot_be_read_is_told(call: Call, tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    outcome = call("check", "loop.yaml")
    assert outcome.code == 1
    assert re.fullmatch(rf"loop\.yaml: {tmp_path}/loop\.yaml cannot be read: .+\n", outcome.out)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x00", b"[1, 2", b"a: &a [*a, *a]", b"{" * 5000])
def test_whatever_the_bytes_problems_are_lines(call: Call, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.yaml").write_bytes(content)
    outcome = call("check", "odd.yaml")
    assert outcome.code == 1
    assert outcome.lines
    assert all(line.startswith("odd.yaml:") for line in outcome.lines)


class TestForEditorsAndHooks:
    def test_the_schema_is_the_one_of_the_package(self, call: Call) -> None:
        outcome = call("check", "--schema")
        assert outcome.code == 0
        assert json.loads(outcome.out)["title"] == "graymw rule document"

    def test_several_documents_are_checked_one_after_the_other(self, call: Call, rules: Path) -> None:
        bad = rules.with_name("bad.yaml")
        bad.write_text("releases: []")
        outcome = call("check", rules, bad)
        assert outcome.code == 1
        assert f"{rules}: 1 release" in outcome.out
        assert f"{bad}:1" in outcome.out
        assert [each["ok"] for each in json.loads(call("check", rules, bad, "--json").out)] == [True, False]

    def test_the_hook_finds_rule_documents_by_their_name(self) -> None:
        (hook,) = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())
        names = ["rules.yaml", "config/rules.yml", "gray-rules.json", "a/graymw_rules.toml"]
        assert [name for name in names if re.search(hook["files"], name)] == names
        assert not re.search(hook["files"], "myrules.yaml")
        assert hook["entry"] == "graymw check"
