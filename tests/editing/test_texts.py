from __future__ import annotations

import json
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from graymw.editing.changes import promote
from graymw.editing.texts import Tree, edited
from graymw.errors import MissingExtraError, SourceError

YAML = """\
# Who is shown what.
schema: 1
releases:
  checkout:            # the shop
    services: [orders, payments]
    stable: "v1"
    rules:
      # our own people first
      - name: testers
        match: {header: {x-gray-version: "true"}}
        use: v2
      - name: canary
        split: {v2: 10%, v3: 0.25%}   # the rest stays

  search:
    stable: 'v1'
    rules: []
"""


def nothing(_tree: Tree) -> None: ...


def to_half(tree: Tree) -> None:
    tree["releases"]["checkout"]["rules"][1]["split"]["v2"] = "50%"


def test_yaml_keeps_everything_but_the_change() -> None:
    assert edited(YAML, None, nothing) == YAML
    assert edited(YAML, "yaml", to_half) == YAML.replace("v2: 10%", "v2: 50%")


def test_a_release_without_rules_any_more_can_be_read() -> None:
    promoted = edited(YAML.replace(", v3: 0.25%", ""), "yaml", lambda tree: promote(tree, "checkout", "v2"))
    assert yaml.safe_load(promoted)["releases"]["checkout"] == {"services": ["orders", "payments"], "stable": "v2"}
    assert promoted.startswith(YAML[: YAML.index("    stable")])


@pytest.mark.parametrize("text", ["a:\n- b\n- c: 1\n  d: 2\n", "a:\n  - b\n", "a:\n    - b\n", "a: {b: [1, 2]}\n"])
def test_yaml_keeps_how_lists_are_indented(text: str) -> None:
    assert edited(text, "yaml", nothing) == text


def test_json_keeps_order_and_indentation() -> None:
    text = json.dumps({"schema": 1, "releases": {"a": {"stable": "é", "x": 1}}}, indent=4, ensure_ascii=False)
    assert edited(text, None, nothing) == text
    assert edited('{"b": 1, "a": 2}\n', None, nothing) == '{"b": 1, "a": 2}\n'


def test_toml_keeps_comments() -> None:
    text = '# who\nschema = 1\n\n[releases.checkout]  # the shop\nstable = "v1"\n'

    def off(tree: Tree) -> None:
        tree["releases"]["checkout"]["enabled"] = False

    assert edited(text, None, nothing) == text
    assert edited(text, None, off) == text + "enabled = false\n"


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12) | st.sampled_from(
    ["no", "1.10", "10%", "0x1f", "~", "a: b", "# c", "- d", "'", '"', "2026-01-01", "{e}", "*f", "&g", "1e3", "null"]
)
TREES = st.recursive(
    WORDS | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(tree=st.dictionaries(WORDS, TREES, min_size=1, max_size=3), flow=st.sampled_from([True, False, None]))
def test_whatever_stands_in_it_stands_there_afterwards(tree: dict[str, object], flow: bool | None) -> None:
    as_yaml = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    assert yaml.safe_load(edited(as_yaml, "yaml", nothing)) == tree
    assert json.loads(edited(json.dumps(tree), "json", nothing)) == tree


@pytest.mark.parametrize("format_", ["yaml", "json", "toml"])
def test_a_text_that_cannot_be_read_is_told(format_: str) -> None:
    with pytest.raises(SourceError, match="that can be changed"):
        edited("{ ] = :", format_, nothing)


@pytest.mark.parametrize(("library", "text"), [("ruamel.yaml", "a: 1\n"), ("tomlkit", "a = 1\n")])
def test_a_missing_library_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch, library: str, text: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'graymw\[edit\]'"):
        edited(text, None, nothing)
