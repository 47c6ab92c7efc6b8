from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from graymw.cli.status import age
from graymw.core.document import parse
from graymw.runtime import process_status
from graymw.runtime.last_good import LastGood
from graymw.runtime.ports import Fetched
from graymw.runtime.process_status import ProcessStatus
from graymw.runtime.state_dir import StateDir, open_state_dir

from .calling import RULES, Call


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    monkeypatch.setenv("GRAYMW_STATE_DIR", str(tmp_path / "state"))
    found = open_state_dir(str(tmp_path / "state"))
    assert found is not None
    return found


def process(state: StateDir, number: int = 1, **changes: Any) -> ProcessStatus:
    """A status file as the living process of this test would write it."""
    now = time.time()
    status = ProcessStatus(
        pid=os.getpid(),
        place=process_status._place(),
        birth=None,
        service="orders",
        version="v1",
        revision="9f3c2a11",
        source="/etc/rules.yaml",
        loaded_at=now - 200,
        from_disk=False,
        last_error="",
        started=now - 300,
        updated=now,
        counters={"rules.loaded": 1},
    )
    status = dataclasses.replace(status, **changes)
    state.write(f"process-test-{number}.json", json.dumps(dataclasses.asdict(status)).encode())
    return status


class TestSettings:
    def test_each_is_shown_with_the_place_it_comes_from(
        self, call: Call, state: StateDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "graymw.yaml").write_text("service: orders\nzone: a\n")
        (tmp_path / ".env").write_text("GRAYMW_ZONE=b\n")
        monkeypatch.setenv("GRAYMW_VERSION", "1.10")
        found = json.loads(call("status", "--json").out)["settings"]
        assert found["GRAYMW_SERVICE"] == {"value": "orders", "from": "graymw.yaml"}
        assert found["GRAYMW_ZONE"] == {"value": "b", "from": ".env"}
        assert found["GRAYMW_VERSION"] == {"value": "1.10", "from": "environment"}
        assert found["GRAYMW_TRUST"] == {"value": "private", "from": ""}

    def test_the_identity_may_come_from_opentelemetry(
        self, call: Call, state: StateDir, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", "payments")
        found = json.loads(call("status", "--json").out)["settings"]
        assert found["GRAYMW_SERVICE"] == {"value": "payments", "from": "OpenTelemetry's resource"}
        assert found["GRAYMW_VERSION"] == {"value": "", "from": ""}

    def test_people_see_defaults_only_where_they_ask(self, call: Call, state: StateDir) -> None:
        assert "GRAYMW_TRUST" not in call("status").out
        assert "GRAYMW_TRUST" in call("status", "--all").out

    @pytest.mark.parametrize("arguments", [["status"], ["status", "--all"], ["status", "--json"]])
    def test_secrets_are_hidden(
        self, call: Call, state: StateDir, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
    ) -> None:
        monkeypatch.setenv("GRAYMW_SECRET", "sesame-open-sesame,older-sesame-older")
        monkeypatch.setenv("GRAYMW_RULES", "file:///x?token=sesame")
        outcome = call(*arguments)
        assert "sesame" not in outcome.out + outcome.err
        assert "2 hidden" in outcome.out

    def test_refused_ones_are_problems(self, call: Call, state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_TRUST", "everyone")
        outcome = call("status")
        assert outcome.code == 1
        assert "problem: GRAYMW_TRUST: 'everyone' is no kind of trust" in outcome.out


class TestRules:
    def test_without_any_all_is_well(self, call: Call, state: StateDir) -> None:
        outcome = call("status")
        assert (outcome.code, outcome.err) == (0, "")
        assert "rules: none" in outcome.out
        assert "no process with graymw runs here" in outcome.out

    def test_source_and_revision_are_shown(
        self, call: Call, state: StateDir, rules: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRAYMW_RULES", rules.name)
        revision = parse(RULES).revision
        assert f"rules: {rules}, revision {revision}" in call("status").out
        found = json.loads(call("status", "--json").out)
        assert found["rules"] == {
            "source": str(rules), "revision": revision, "releases": ["checkout"], "copy": None,
        }  # fmt: skip

    def test_the_copy_on_disk_is_shown(
        self, call: Call, state: StateDir, rules: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRAYMW_RULES", rules.name)
        monkeypatch.setenv("GRAYMW_SERVICE", "orders")
        kept = LastGood(state, service="orders", source=str(rules))
        kept.save(Fetched(RULES, str(rules), "yaml"), now=time.time() - 3 * 3600)
        outcome = call("status")
        assert f"copy on disk: revision {parse(RULES).revision}, taken 3 h ago" in outcome.out

    def test_faults_of_the_document_are_problems(
        self, call: Call, state: StateDir, rules: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRAYMW_RULES", rules.name)
        rules.write_text(RULES.replace("stable: v1", "stabel: v1"))
        outcome = call("status")
        assert outcome.code == 1
        assert f"problem: {rules}:5: releases.checkout.stabel: unknown key" in outcome.out
        assert "which holds no good document" in outcome.out

    def test_a_missing_document_is_a_problem(
        self, call: Call, state: StateDir, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRAYMW_RULES", "gone.yaml")
        outcome = call("status")
        assert outcome.code == 1
        assert "gone.yaml holds no rule document" in outcome.out


class TestProcesses:
    def test_they_are_listed(self, call: Call, state: StateDir) -> None:
        process(state, counters={"rules.loaded": 2, "rules.error": 3})
        outcome = call("status")
        assert outcome.code == 0
        told = " ".join(outcome.out.split())
        assert f"{os.getpid()} orders v1 9f3c2a11 3 min /etc/rules.yaml" in told
        assert f"process {os.getpid()} counted: rules.error 3" in told
        paths = ("state is kept in ",)  # of any length, so that they can be copied
        assert all(len(line) <= 80 for line in outcome.lines if not line.startswith(paths))

    def test_json_tells_all_of_them(self, call: Call, state: StateDir) -> None:
        process(state, from_disk=True, registry="static")
        (found,) = json.loads(call("status", "--json").out)["processes"]
        assert 200 <= found.pop("age_seconds") < 260
        assert found == {
            "pid": os.getpid(),
            "service": "orders",
            "version": "v1",
            "revision": "9f3c2a11",
            "source": "/etc/rules.yaml",
            "from_disk": True,
            "last_error": None,
            "registry": "static",
            "registry_error": None,
            "settings_error": None,
            "restart_needed": [],
            "address": None,
            "counters": {"rules.loaded": 1},
        }

    def test_an_error_of_one_is_a_problem(self, call: Call, state: StateDir) -> None:
        process(state, last_error="rules.yaml: 2 problem(s)\n  line 3: a: b; c")
        outcome = call("status")
        assert outcome.code == 1
        assert "(orders v1) keeps revision 9f3c2a11: rules.yaml: 2 problem(s)" in outcome.out

    def test_settings_that_are_written_but_not_in_force_are_a_problem(self, call: Call, state: StateDir) -> None:
        process(state, settings_error="GRAYMW_TRUST: 'x' is no\n kind", restart_needed="GRAYMW_ZONE, GRAYMW_WEIGHT")
        outcome = call("status")
        assert outcome.code == 1
        assert "(orders v1) keeps its last good settings: GRAYMW_TRUST: 'x' is no kind" in outcome.out
        assert "(orders v1) needs a restart to take GRAYMW_ZONE, GRAYMW_WEIGHT" in outcome.out
        (found,) = json.loads(call("status", "--json").out)["processes"]
        assert found["restart_needed"] == ["GRAYMW_ZONE", "GRAYMW_WEIGHT"]

    def test_processes_are_found_while_the_settings_are_refused(
        self, call: Call, state: StateDir, tmp_path: Path
    ) -> None:
        process(state)
        (tmp_path / "graymw.yaml").write_text("trust: everybody\n")
        found = json.loads(call("status", "--json").out)
        assert [each["pid"] for each in found["processes"]] == [os.getpid()]
        assert any("GRAYMW_TRUST" in problem for problem in found["problems"])

    def test_trouble_with_a_registry_is_a_problem(self, call: Call, state: StateDir) -> None:
        process(state, registry="dns:///mesh.test", registry_error="one did not answer;\n  another neither")
        outcome = call("status")
        assert outcome.code == 1
        told = "(orders v1) has trouble with its registry, dns:///mesh.test: one did not answer; another neither"
        assert told in outcome.out

    def test_two_revisions_are_said_plainly(self, call: Call, state: StateDir) -> None:
        process(state, 1)
        process(state, 2, version="v2", revision="11112222")
        outcome = call("status")
        assert outcome.code == 1
        (told,) = [line for line in outcome.lines if "2 revisions in the fleet" in line]
        assert "source /etc/rules.yaml" in told
        assert "9f3c2a11 in process" in told
        assert "11112222 in process" in told

    def test_other_services_with_other_rules_are_no_problem(self, call: Call, state: StateDir) -> None:
        process(state, 1)
        process(state, 2, service="search", source="/etc/search.yaml", revision="11112222")
        assert call("status").code == 0

    def test_one_service_with_two_sources_is_told_too(self, call: Call, state: StateDir) -> None:
        process(state, 1)
        process(state, 2, source="/etc/other.yaml", revision="11112222")
        outcome = call("status")
        assert outcome.code == 1
        assert "2 revisions in the fleet, of service orders" in outcome.out

    def test_one_that_lags_behind_the_source_is_a_problem(
        self, call: Call, state: StateDir, rules: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRAYMW_RULES", rules.name)
        process(state, source=str(rules))
        outcome = call("status")
        assert outcome.code == 1
        assert f"has revision 9f3c2a11 in force, the source has {parse(RULES).revision}" in outcome.out

    def test_the_dead_are_not_shown(self, call: Call, state: StateDir) -> None:
        process(state, birth=1)
        assert "no process" in call("status").out


def test_without_a_place_for_state_that_is_the_problem(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRAYMW_STATE_DIR", str(tmp_path / "file"))
    outcome = call("status")
    assert outcome.code == 1
    assert "set GRAYMW_STATE_DIR" in outcome.out


@pytest.mark.parametrize(
    ("seconds", "told"), [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_600, "1 h"), (90_000, "1 d")]
)
def test_ages_are_told_in_their_largest_unit(seconds: float, told: str) -> None:
    assert age(seconds) == told
