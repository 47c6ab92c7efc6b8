"""The JSON Schema for editors, against what the reader of documents accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft202012Validator
from strategies import documents

from graymw.core.document import SCHEMA_PATH, examine, mapping_of
from graymw.core.model import RuleDocument

SCHEMA = json.loads(SCHEMA_PATH.read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/**/rules*.yaml"))


def accepts(document: object) -> bool:
    return bool(VALIDATOR.is_valid(document))


def test_it_is_a_schema_itself() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@given(document=documents())
def test_whatever_can_be_read_is_valid(document: RuleDocument) -> None:
    try:
        mapping = json.loads(json.dumps(mapping_of(document)))
    except ValueError:
        return  # the model can hold what no text says
    if examine(mapping).document is not None:
        assert accepts(mapping), VALIDATOR.iter_errors(mapping)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path) -> None:
    assert accepts(yaml.safe_load(path.read_text()))


def release(**more: Any) -> dict[str, Any]:
    return {"schema": 1, "releases": {"checkout": {"stable": "v1", **more}}}


def rule(**more: Any) -> dict[str, Any]:
    return release(rules=[more])


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"schema": 2, "releases": {}},
        {"releases": []},
        {"releases": {"Checkout": {"stable": "v1"}}},
        {"releases": {"checkout": {}}},
        release(stable="-v1"),
        release(stable=1.1),
        release(fallback="nobody"),
        release(min_instances=0),
        release(sticky=["session"]),
        release(services=[]),
        release(enabled="yes"),
        release(rule=[]),
        rule(use="v2", split={"v2": "1%"}),
        rule(name="nothing"),
        rule(split={}),
        rule(split={"v2": "a few"}),
        rule(split={"v2": 101}),
        rule(use="v2", match={}),
        rule(use="v2", match={"headers": {"a": "b"}}),
        rule(use="v2", match={"user": {"prefix": "a", "suffix": "b"}}),
        rule(use="v2", match={"user": {"like": "a"}}),
        rule(use="v2", match={"user": True}),
        rule(use="v2", match={"user": {"mod": [10]}}),
        rule(use="v2", match={"after": "tomorrow"}),
        rule(use="v2", header={"a": "b"}),
    ],
)
def test_what_an_editor_should_mark_is_refused_by_both(document: dict[str, Any]) -> None:
    assert not accepts(document)
    assert examine(document).document is None
