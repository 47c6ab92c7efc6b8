from __future__ import annotations

from pathlib import Path

import pytest

from graymw.errors import SettingsError
from graymw.runtime.ports import RuleSource
from graymw.settings.schema import Settings
from graymw.sources import source_for
from graymw.sources.file import FileSource
from graymw.sources.short_form import ShortFormSource


def chosen(**settings: object) -> RuleSource | None:
    return source_for(Settings.from_mapping(settings, environ={}))


def test_without_rules_there_is_no_source() -> None:
    assert chosen() is None


@pytest.mark.parametrize(
    "rules", ["rules.yaml", "/etc/rules.yaml", "./a:b.yaml", "C:\\rules.yaml", "file:rules.yaml", "FILE:/r"]
)
def test_paths_and_file_urls(rules: str) -> None:
    assert isinstance(chosen(rules=rules), FileSource)


def test_the_path_of_a_url(tmp_path: Path) -> None:
    source = chosen(rules=f"file://{tmp_path}/r.yaml")
    assert source is not None
    assert source.name == f"{tmp_path}/r.yaml"


def test_the_short_form_is_used_without_rules_only() -> None:
    assert isinstance(chosen(gray_ratio="10%"), ShortFormSource)
    assert isinstance(chosen(gray_ratio="10%", rules="rules.yaml"), FileSource)


@pytest.mark.parametrize("rules", ["gopher://host/key", "gopher+https://host/key", "rules:v1"])
def test_an_unknown_scheme_is_refused_with_the_known_ones(rules: str) -> None:
    with pytest.raises(SettingsError) as refused:
        chosen(rules=rules)
    (problem,) = refused.value.problems
    assert problem.path == "GRAYMW_RULES"
    assert "file:" in problem.mend
