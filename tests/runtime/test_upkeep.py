from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually

from graymw.core.model import RuleDocument
from graymw.runtime.process_status import read_all
from graymw.runtime.state_dir import StateDir
from graymw.runtime.upkeep import Upkeep
from graymw.runtime.watching import WatchThread
from graymw.settings.schema import Settings
from graymw.sources import source_for

RULES = "schema: 1\nreleases: {{checkout: {{stable: v1, rules: [{{split: {{v2: {share}}}}}]}}}}\n"


@pytest.fixture
def thread() -> Iterator[WatchThread]:
    thread = WatchThread()
    yield thread
    assert thread.stop(5.0)


def test_rules_are_loaded_watched_kept_and_told(tmp_path: Path, thread: WatchThread) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.format(share="10%"))
    state = StateDir(tmp_path / "state")
    settings = Settings.from_mapping(
        {"rules": str(rules), "service": "orders", "state_dir": str(state.path)}, environ={}
    )
    in_force: list[RuleDocument] = []
    upkeep = Upkeep(settings, source_for(settings), on_change=in_force.append, thread=thread)
    upkeep.start()
    assert len(in_force) == 1
    rules.write_text(RULES.format(share="20%"))
    eventually(
        lambda: [status.revision for status in read_all(state)] == [in_force[-1].revision] and len(in_force) == 2
    )
    upkeep.stop()
    assert read_all(state) == []
    rules.write_text("broken: [")
    again: list[RuleDocument] = []
    Upkeep(settings, source_for(settings), on_change=again.append, thread=thread).start()
    assert [document.revision for document in again] == [in_force[-1].revision], "from the copy on disk"


def test_without_rules_only_the_status_is_told(tmp_path: Path, thread: WatchThread) -> None:
    settings = Settings.from_mapping({"state_dir": str(tmp_path / "state")}, environ={})
    upkeep = Upkeep(settings, source_for(settings), on_change=lambda _: None, thread=thread)
    upkeep.start()
    eventually(lambda: read_all(StateDir(tmp_path / "state")))
    upkeep.stop()


def test_without_a_place_for_state_rules_are_loaded_all_the_same(tmp_path: Path, thread: WatchThread) -> None:
    (tmp_path / "file").touch()
    settings = Settings.from_mapping({"gray_ratio": "10%", "state_dir": str(tmp_path / "file")}, environ={})
    upkeep = Upkeep(settings, source_for(settings), on_change=lambda _: None, thread=thread)
    upkeep.start()
    assert upkeep.keeper.current.revision
    upkeep.stop()
