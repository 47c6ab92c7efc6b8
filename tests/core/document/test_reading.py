"""Bytes to a tree: what every format has in common."""

from __future__ import annotations

import pytest

from graymw.core import document
from graymw.errors import Problem

YAML = """
schema: 1
releases:
  checkout:
    stable: v1
    rules:
      - match: {header: {x-a: "1.10"}, user: {gt: 1.5}}
        split: {v2: 10%}
"""
JSON = """
{"schema": 1, "releases": {"checkout": {"stable": "v1", "rules":
\t[{"match": {"header": {"x-a": "1.10"}, "user": {"gt": 1.5}}, "split": {"v2": "10%"}}]}}}
"""
TOML = """
schema = 1

[releases.checkout]
stable = "v1"

[[releases.checkout.rules]]
match = {header = {x-a = "1.10"}, user = {gt = 1.5}}
split = {v2 = "10%"}
"""


def only(source: str | bytes, wanted: str | None = None) -> Problem:
    examined = document.examine(source, format=wanted)
    assert examined.document is None
    (problem,) = examined.problems
    return problem


@pytest.mark.parametrize("wanted", [None, "yaml", "yml", ".YAML"])
def test_yaml_is_read(wanted: str | None) -> None:
    assert document.parse(YAML, format=wanted).releases[0].stable == "v1"


@pytest.mark.parametrize(("text", "wanted"), [(JSON, "json"), (TOML, "toml"), (YAML, "yaml")])
def test_the_format_is_found_out_from_the_text(text: str, wanted: str) -> None:
    assert document.parse(text) == document.parse(text.encode(), format=wanted)


def test_all_formats_give_the_same_model() -> None:
    assert document.parse(YAML) == document.parse(JSON) == document.parse(TOML)


def test_yaml_in_flow_style_begins_like_json() -> None:
    assert document.parse("{schema: 1, releases: {a: {stable: v1}}}").releases[0].name == "a"


def test_json_that_is_neither_is_told_as_json() -> None:
    assert only('{"schema": 1, "releases": {').message.startswith("not JSON: ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rules.yaml", "yaml"),
        ("a/rules.YML", "yaml"),
        ("r.json", "json"),
        ("r.toml", "toml"),
        ("rules", None),
        ("a.txt", None),
    ],
)
def test_a_file_name_tells_the_format(name: str, expected: str | None) -> None:
    assert document.format_of(name) == expected


def test_an_unknown_format_is_a_problem() -> None:
    problem = only("schema: 1", "yalm")
    assert (problem.message, problem.mend) == ("unknown format 'yalm'", "did you mean yaml?")


@pytest.mark.parametrize("wanted", [None, "yaml", "toml", "json"])
@pytest.mark.parametrize("text", ["", " \n\t\n"])
def test_an_empty_document_is_a_problem(text: str, wanted: str | None) -> None:
    assert only(text, wanted) == Problem("", "the document is empty", "write at least `releases: {}`", 1)


@pytest.mark.parametrize("text", ["# only a comment\n", "~", "---\n...\n"])
def test_a_document_of_nothing_is_empty(text: str) -> None:
    assert only(text, "yaml").message == "the document is empty"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "the document is a list, not a mapping"),
        ("[1, 2]", "the document is a list, not a mapping"),
        ("hello", "the document is the text 'hello', not a mapping"),
        ("12", "the document is the number 12, not a mapping"),
    ],
)
def test_a_document_that_is_no_mapping_is_a_problem(text: str, message: str) -> None:
    assert only(text).message == message


def test_bytes_that_are_no_utf8_are_named_with_their_line() -> None:
    assert only(b"schema: 1\nreleases: {\xe4: 1}") == Problem(
        "", "byte 0xe4 is not UTF-8", "save the document as UTF-8", 2
    )


def test_utf16_is_recognised() -> None:
    assert only(YAML.encode("utf-16")).message == "the document is UTF-16 or UTF-32"


def test_half_a_surrogate_pair_is_a_problem() -> None:
    assert only("schema: '\ud800'").message == "the text holds half a surrogate pair"


def test_nul_is_named_with_its_line() -> None:
    assert only("schema: 1\n\n\0") == Problem("", "the text holds a NUL character", "remove it", 3)


@pytest.mark.parametrize("text", [YAML, JSON, TOML])
def test_a_byte_order_mark_is_a_warning(text: str) -> None:
    examined = document.examine(b"\xef\xbb\xbf" + text.encode())
    assert examined.document == document.parse(text)
    assert [problem.severity for problem in examined.problems] == ["warning"]


def test_a_document_beyond_the_limit_is_refused() -> None:
    assert only("#" * (3 << 20)).message == "the document is larger than 2048 KiB"


def test_a_mapping_is_taken_as_it_is() -> None:
    made = document.parse({"schema": 1, "releases": {"a": {"stable": "v1", "rules": ({"split": {"v2": 10}},)}}})
    assert made == document.parse("schema: 1\nreleases: {a: {stable: v1, rules: [{split: {v2: 10%}}]}}")


def test_a_float_in_a_mapping_is_named_as_python_writes_it() -> None:
    problem = document.examine({"schema": 1, "releases": {"a": {"stable": 1.1}}}).problems[0]
    assert (problem.path, problem.mend, problem.line) == ("releases.a.stable", 'write "1.1" in quotes', None)


def test_a_mapping_that_holds_itself_is_a_problem() -> None:
    endless: dict[str, object] = {"schema": 1}
    endless["releases"] = endless
    assert "nested deeper than" in document.examine(endless).problems[0].message


@pytest.mark.parametrize("value", [object(), b"v1", {1, 2}, 1 << 20_000], ids=["object", "bytes", "set", "endless"])
def test_a_value_without_meaning_is_a_problem(value: object) -> None:
    problem = document.examine({"schema": 1, "releases": {"a": {"stable": value}}}).problems[0]
    assert problem.path == "releases.a.stable"
    assert "has no meaning here" in problem.message


def test_a_key_that_is_no_text_is_a_problem() -> None:
    assert document.examine({"schema": 1, "releases": {1: {}}}).problems[0].message == "the key 1 is not text"


def test_what_is_no_document_at_all_is_a_problem() -> None:
    examined = document.examine([1])  # type: ignore[arg-type]
    assert examined.problems[0].message == "the document is a list, not a mapping"


@pytest.mark.parametrize("wanted", ["yaml", "json", "toml"])
@pytest.mark.parametrize(
    "piece", ["[", "{", '{"a":', "a=[", "- ", "? ", "&a ", "*a", "!t ", '"', "'", "a.", "a: ", "\t", "%"]
)
def test_a_mebibyte_of_one_syntax_is_examined_without_an_exception(piece: str, wanted: str) -> None:
    examined = document.examine(piece * ((1 << 20) // len(piece)), format=wanted)
    assert examined.document is None
