"""The commands that change rules, as a user runs them, on a file."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from graymw.core.document import parse
from graymw.core.model import RuleDocument

from .calling import RULES, Call


def now(rules: Path) -> RuleDocument:
    return parse(rules.read_text())


def test_set_gives_a_version_its_share_and_keeps_the_rest_as_it_was(call: Call, rules: Path) -> None:
    outcome = call("set", "checkout", "--share", "v2=20%", "--rules", rules, "--yes", "--why", "all is well")
    assert outcome.code == 0
    assert rules.read_text() == RULES.replace("v2: 10%", "v2: 20%")
    assert "-        split: {v2: 10%, v3: 0.25%}" in outcome.out
    assert "+        split: {v2: 20%, v3: 0.25%}" in outcome.out
    assert "% of plain users move from v1 to v2" in outcome.out
    assert outcome.lines[-1] == f"written: {rules}, revision {now(rules).revision}"


def test_the_environment_says_where_the_rules_are(call: Call, rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAYMW_RULES", str(rules))
    assert call("set", "checkout", "--share", "v3=1%", "-y").code == 0
    assert "v3: 1%" in rules.read_text()


def test_without_a_terminal_consent_is_needed_in_words(call: Call, rules: Path) -> None:
    outcome = call("set", "checkout", "--share", "v2=20%", "--rules", rules)
    assert outcome.code == 2
    assert outcome.err == "graymw: nothing was written: there is no terminal to ask at; add --yes\n"
    assert rules.read_text() == RULES


@pytest.mark.parametrize(("answer", "written"), [("y", True), ("n", False), ("", False)])
def test_in_a_terminal_it_asks(rules: Path, answer: str, written: bool) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "graymw", "set", "checkout", "--share", "v2=20%", "--rules", str(rules)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert "Write this? [y/N]:" in out
    assert ("nothing was written" in out) is not written
    assert (rules.read_text() != RULES) is written


def test_a_dry_run_shows_and_writes_nothing(call: Call, rules: Path) -> None:
    outcome = call("set", "checkout", "--share", "v2=20%", "--rules", rules, "--dry-run", "--json")
    told = json.loads(outcome.out)
    assert (outcome.code, told["written"], told["changed"]) == (0, False, True)
    assert told["before"] == parse(RULES).revision != told["revision"]
    assert rules.read_text() == RULES


def test_json_tells_what_was_written(call: Call, rules: Path) -> None:
    told = json.loads(call("set", "checkout", "--share", "v2=20%", "--rules", rules, "--yes", "--json").out)
    assert told["written"]
    assert told["revision"] == now(rules).revision


def test_json_asks_nobody(call: Call, rules: Path) -> None:
    outcome = call("set", "checkout", "--share", "v2=20%", "--rules", rules, "--json")
    assert (outcome.code, outcome.err) == (2, "graymw: --json asks nobody; add --yes, or --dry-run\n")


def test_setting_what_is_set_changes_nothing(call: Call, rules: Path) -> None:
    outcome = call("set", "checkout", "--share", "v2=10%", "--rules", rules)
    assert (outcome.code, outcome.out) == (0, f"{rules}: nothing to change\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["set", "checkout", "--share", "v2"], 2, "'v2' is no share; write VERSION=PERCENT, such as v2=10%"),
        (["set", "checkout", "--share", "v2=10"], 2, "'v2=10' is no share; write VERSION=PERCENT, such as v2=10%"),
        (["set", "checkout"], 2, "Missing option '--share'"),
        (["set", "chekout", "--share", "v2=1%"], 1, "the rules have no release chekout; it has checkout"),
        (["set", "checkout", "--share", "v2=100.5%"], 1, "split"),
        (["set", "checkout", "--share", "v1=10%"], 1, "the split names the stable version v1"),
        (["promote", "checkout"], 1, "release checkout has several gray versions: v2, v3; say which one"),
        (["disable", "search"], 1, "the rules have no release search; it has checkout"),
        (["rollback", "--to", "00000000"], 1, "the history has no revision 00000000; the last ones are nothing"),
        (["rollback", "checkout", "--to", "00"], 2, "--to brings a whole document back; leave out the releases"),
        (["publish", "missing.yaml"], 2, "missing.yaml: No such file or directory"),
    ],
)
def test_wrong_use_gets_one_sentence_and_writes_nothing(
    call: Call, rules: Path, arguments: list[str], code: int, told: str
) -> None:
    outcome = call(*arguments, "--rules", rules, "--yes")
    assert outcome.code == code
    assert told in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert rules.read_text() == RULES


def test_rules_that_cannot_be_written_are_told(call: Call) -> None:
    outcome = call("disable", "checkout", "--yes")
    assert outcome.err == "GRAYMW_RULES: no rules are set; set it, or give --rules FILE or URL\n"
    outcome = call("disable", "checkout", "--yes", "--rules", "gopher://x/y")
    assert "rules in gopher: cannot be written by graymw" in outcome.err


def test_there_must_be_rules_before_they_can_be_changed(call: Call, tmp_path: Path) -> None:
    outcome = call("disable", "checkout", "--yes", "--rules", tmp_path / "none.yaml")
    assert outcome.err == "graymw: there is no rule document yet; put one there: graymw publish FILE\n"


def test_switching_off_and_on(call: Call, rules: Path) -> None:
    assert call("disable", "checkout", "--rules", rules, "-y").code == 0
    assert [release.enabled for release in now(rules).releases] == [False]
    assert call("enable", "checkout", "--rules", rules, "-y").code == 0
    assert rules.read_text() == RULES


def test_promoting(call: Call, rules: Path) -> None:
    assert call("promote", "checkout", "v2", "--rules", rules, "-y").code == 0
    (release,) = now(rules).releases
    assert release.stable == "v2"


def test_rolling_back_puts_everyone_on_stable(call: Call, rules: Path) -> None:
    outcome = call("rollback", "--rules", rules, "-y", "--why", "errors")
    assert outcome.code == 0
    assert not any(release.enabled for release in now(rules).releases)
    assert "move from v2 to v1" in outcome.out


def test_rolling_back_to_a_revision_brings_its_very_text_back(call: Call, rules: Path) -> None:
    first = now(rules).revision
    call("set", "checkout", "--share", "v2=20%", "--rules", rules, "-y")
    call("promote", "checkout", "v2", "--rules", rules, "-y")
    assert call("rollback", "--to", first, "--rules", rules, "-y").code == 0
    assert rules.read_text() == RULES


def test_publishing_a_first_document_and_from_standard_input(call: Call, tmp_path: Path) -> None:
    there = tmp_path / "there.yaml"
    (tmp_path / "new.yaml").write_text(RULES)
    assert call("publish", "new.yaml", "--rules", there, "-y").code == 0
    assert there.read_text() == RULES
    changed = RULES.replace("10%", "11%")
    assert call("publish", "-", "--rules", there, "-y", stdin=changed).code == 0
    assert there.read_text() == changed


def test_a_document_of_another_format_than_the_file_s_name_is_refused(call: Call, rules: Path, tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text("schema = 1\n")
    outcome = call("publish", "new.toml", "--rules", rules, "-y")
    assert outcome.code == 2
    assert "new.toml is toml" in outcome.err
    assert "kept as yaml; convert it first" in outcome.err


def test_the_history_tells_everything_newest_first(call: Call, rules: Path) -> None:
    call("set", "checkout", "--share", "v2=20%", "--rules", rules, "-y", "--why", "looks good", "--who", "ann")
    call("rollback", "--rules", rules, "-y", "--why", "errors", "--who", "bob")
    told = json.loads(call("history", "--rules", rules, "--json").out)
    assert [(each["who"], each["what"], each["why"]) for each in told] == [
        ("bob", "rollback", "errors"),
        ("ann", "set checkout --share v2=20%", "looks good"),
        ("", "found", ""),
    ]
    shown = call("history", "--rules", rules).out
    assert all(word in shown for word in ("ann", "bob", "looks good", told[0]["revision"]))
    assert call("history", told[2]["revision"], "--rules", rules).out == RULES
    assert len(json.loads(call("history", "--rules", rules, "--json", "-n", "1").out)) == 1


def test_rules_that_were_never_changed_have_no_history(call: Call, rules: Path) -> None:
    assert call("history", "--rules", rules).out == f"{rules}: graymw has not changed these rules yet\n"


def test_watch_tells_every_change_and_who_moves(rules: Path) -> None:
    command = [sys.executable, "-m", "graymw", "watch", "--rules", str(rules), "--json", "-n", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["revision"] == parse(RULES).revision
        rules.write_text("releases: [")
        assert "refused" in json.loads(process.stdout.readline())["problem"]
        rules.write_text(RULES.replace("v2: 10%", "v2: 20%"))
        third = json.loads(process.stdout.readline())
        assert any("from v1 to v2" in line for line in third["moves"])
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    "broken", ["releases: []\n", "hello\n", "releases: {checkout: 5}\n", "- a\n", "releases: {a: {b\n"]
)
@pytest.mark.parametrize("command", [("rollback",), ("set", "checkout", "--share", "v2=1%"), ("promote", "checkout")])
def test_a_broken_document_is_told_with_the_way_out(
    call: Call, rules: Path, broken: str, command: tuple[str, ...]
) -> None:
    rules.write_text(broken)
    outcome = call(*command, "--rules", rules, "--yes")
    assert outcome.code == 1
    assert "graymw rollback --to REVISION" in outcome.err
    assert rules.read_text() == broken
