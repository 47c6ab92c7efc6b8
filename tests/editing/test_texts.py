from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.document import parse
from graymw.core.model import Release
from graymw.editing.changes import promote, set_shares, switch
from graymw.editing.texts import Tree, edited
from graymw.errors import SourceError

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


SHARED = """\
schema: 1
releases:
  # the first
  cart: &cart
    stable: v1
    services: [cart]
    rules:
      - name: canary
        split: &share {v2: 10%}  # a tenth
  search: {stable: v1, services: [search], rules: [{name: canary, split: *share}]}
  orders:
    <<: *cart
    services: [orders]
"""


def releases(text: str) -> dict[str, Release]:
    return {release.name: release for release in parse(text).releases}


@pytest.mark.parametrize(
    "edit",
    [
        lambda tree, name: set_shares(tree, name, {"v2": "50%"}),
        lambda tree, name: switch(tree, [name], on=False),
        promote,
    ],
    ids=["set", "disable", "promote"],
)
@pytest.mark.parametrize("name", ["cart", "search", "orders"])
def test_a_change_of_one_release_leaves_those_alone_that_share_its_text(
    edit: Callable[[Tree, str], object], name: str
) -> None:
    before, after = releases(SHARED), releases(edited(SHARED, "yaml", lambda tree: edit(tree, name)))
    assert [each for each in before if before[each] != after[each]] == [name]


def test_what_is_inherited_by_a_merge_can_be_taken_out() -> None:
    text = SHARED.replace("stable: v1\n", "stable: v1\n    enabled: false\n", 1)
    after = releases(edited(text, "yaml", lambda tree: switch(tree, ["orders"], on=True)))
    assert {name: each.enabled for name, each in after.items()} == {"cart": False, "search": True, "orders": True}


def test_anchors_stay_where_nothing_else_hangs_on_the_change() -> None:
    assert edited(SHARED, "yaml", lambda tree: tree["releases"]["orders"].update(seed="s")) == SHARED + "    seed: s\n"


def test_comments_stay_where_shared_text_has_to_be_written_out() -> None:
    text = edited(SHARED, "yaml", lambda tree: set_shares(tree, "search", {"v2": "50%"}))
    assert "# the first" in text
    assert "# a tenth" in text


def test_ends_of_lines_stay_as_they_are() -> None:
    text = YAML.replace("\n", "\r\n")
    assert edited(text, "yaml", to_half) == text.replace("v2: 10%", "v2: 50%")


def test_what_graymw_reads_otherwise_than_the_library_is_changed_as_graymw_reads_it() -> None:
    text = "\ufeffschema: 1\nreleases: {on: {stable: v1, rules: [{match: {user: no}, use: v2}]}}\n"
    assert releases(edited(text, "yaml", lambda tree: switch(tree, ["on"], on=False)))["on"].enabled is False


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: 1\n---\nb: 2\n", "- a\n", "a:\n\t- b\n", "a: *x\n"])
def test_a_document_that_graymw_would_not_read_is_not_changed(text: str) -> None:
    with pytest.raises(SourceError, match="no YAML that can be changed"):
        edited(text, "yaml", nothing)


NEIGHBOURS = """\
releases:
  checkout:
    stable: v1
    rules:            # top to bottom
      - name: testers
        match: {header: {x-gray-version: "true"}}
        use: v2
      # slowly
      - name: canary
        split: {v2: 10%}   # a tenth

  # search is another team's,
  # ask them
  search:
    stable: v1
"""


def test_a_comment_stays_above_what_follows_the_part_that_is_taken_out() -> None:
    promoted = edited(NEIGHBOURS, "yaml", lambda tree: promote(tree, "checkout"))
    before, after = NEIGHBOURS.index("    stable: v1\n    rules"), NEIGHBOURS.index("\n  # search")
    assert promoted == NEIGHBOURS[:before] + "    stable: v2\n" + NEIGHBOURS[after:]


def test_a_comment_stays_above_what_follows_a_rule_that_is_taken_out() -> None:
    def without_canary(tree: Tree) -> None:
        del tree["releases"]["checkout"]["rules"][1]

    shorter = edited(NEIGHBOURS, "yaml", without_canary)
    assert "\n\n  # search is another team's,\n  # ask them\n  search:\n" in shorter
