"""YAML by the core schema of version 1.2, bounded."""

from __future__ import annotations

import math

import pytest
import yaml

from graymw.core.document import yaml_text
from graymw.core.document.tree import MAX_DEPTH, Node, Problems
from graymw.errors import Problem


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(inner) for key, inner in node.value.items()}
    if isinstance(node.value, list):
        return [plain(inner) for inner in node.value]
    return node.value


def read(text: str) -> object:
    problems = Problems()
    node = yaml_text.read(text, problems)
    assert problems.in_order() == ()
    assert node is not None
    return plain(node)


def faults(text: str) -> tuple[Problem, ...]:
    problems = Problems()
    yaml_text.read(text, problems)
    return problems.in_order()


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds with libyaml and without."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_text, "_Loader", getattr(yaml, request.param))


@pytest.mark.parametrize(
    "text",
    ["no", "yes", "on", "off", "y", "2026-01-31", "2026-01-31T12:00:00Z", "12:30:45", "1_000", "0b1", "=", "1.2.3"],
)
def test_what_yaml_1_1_would_convert_stays_text(text: str) -> None:
    assert read(f"a: {text}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("NULL", None), ("nUll", "nUll"),
        ("true", True), ("True", True), ("FALSE", False), ("tRue", "tRue"),
        ("12", 12), ("-3", -3), ("+7", 7), ("010", 10), ("0o17", 15), ("0xfF", 255), ("0xg", "0xg"),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-.inf", -math.inf), (".INF", math.inf),
        ("1.5.", "1.5."), ("+", "+"), ("-", [None]), ("'12'", "12"), ('"true"', "true"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert read(f"a:\n {text}") == {"a": value}


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(read("a: .nan")["a"])  # type: ignore[index]


def test_digits_without_end_stay_text() -> None:
    assert read("a: " + "1" * 500 + "x") == {"a": "1" * 500 + "x"}


def test_keys_are_what_is_written() -> None:
    assert read("{1.10: a, true: b, 007: c}") == {"1.10": "a", "true": "b", "007": "c"}


def test_tags_of_the_core_schema_decide_the_type() -> None:
    assert read("{a: !!str 1.10, b: !!int 3, c: ! 5, d: !!map {}, e: !!null ~}") == {
        "a": "1.10",
        "b": 3,
        "c": "5",
        "d": {},
        "e": None,
    }


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!mine", "!!int"])
def test_other_tags_are_problems(tag: str) -> None:
    (problem,) = faults(f"a:\n  b: {tag} x")
    assert (problem.path, problem.line, problem.mend) == ("a.b", 2, "remove the tag")


def test_a_doubled_key_is_named_with_both_lines() -> None:
    assert faults("a:\n  b: 1\n  c: 2\n  b: 3\n") == (
        Problem("a.b", "the key 'b' stands twice, first on line 2", "keep one of the two", 4),
    )


def test_aliases_stand_for_their_anchor() -> None:
    assert read("a: &x {k: [1, 2]}\nb: *x\nc: [*x, *x]") == {
        "a": {"k": [1, 2]},
        "b": {"k": [1, 2]},
        "c": [{"k": [1, 2]}, {"k": [1, 2]}],
    }


def test_merge_keys_add_what_is_not_written() -> None:
    text = "a: &a {k: 1, l: 2}\nb: &b {l: 3, m: 4}\nc: {<<: *a, l: 9}\nd:\n  <<: [*b, *a]\ne: {'<<': 1}"
    assert read(text) == {
        "a": {"k": 1, "l": 2},
        "b": {"l": 3, "m": 4},
        "c": {"l": 9, "k": 1},
        "d": {"l": 3, "m": 4, "k": 1},
        "e": {"<<": 1},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: *x", "unknown alias 'x'"),
        ("a: &x [*x]", "the alias 'x' stands inside what it names"),
        ("a: {<<: 1}", "<< merges mappings only"),
        ("a: &x 1\n*x : 2", "a key is an alias"),
        ("a: {{ version }}", "a key is itself a list or mapping"),
        ("[a]: 1", "a key is itself a list or mapping"),
        ("a: 1\n---\nb: 2", "a second document begins"),
    ],
)
def test_what_a_rule_document_cannot_mean_is_a_problem(text: str, message: str) -> None:
    assert message in [problem.message for problem in faults(text)]


def test_a_billion_laughs_end_early() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(30))
    (problem,) = faults(text)
    assert problem.message == "more than 200000 values, aliases counted in"


def test_merged_laughs_end_early_too() -> None:
    text = (
        "a: &a {"
        + ", ".join(f"k{n}: 1" for n in range(2000))
        + "}\n"
        + "".join(f"b{n}: {{<<: *a}}\n" for n in range(200))
    )
    assert faults(text)[0].message == "more than 200000 values, aliases counted in"


def test_aliases_cannot_nest_deeper_than_the_text_may() -> None:
    (problem,) = faults("a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(200)))
    assert problem.message == f"nested deeper than {MAX_DEPTH} levels"


@pytest.mark.parametrize(
    ("text", "line", "mend"),
    [
        ("a: 1\nb:\n\t- c", 3, "indent with spaces: YAML forbids tabs there"),
        ("a: b: c", 1, "check the indentation, or put a text with a colon in quotes"),
        ("a: 1\nb: @x", 2, "put the value in quotes"),
        ("a: 1\nb: %x", 2, "put the value in quotes"),
        ("a: 'x", 1, "check quotes, brackets and indentation near here"),
    ],
)
def test_broken_syntax_has_its_line_and_a_mend(text: str, line: int, mend: str) -> None:
    (problem,) = faults(text)
    assert problem.message.startswith("not YAML: ")
    assert problem.mend == mend
    assert problem.line in {line, line + 1}


@pytest.mark.parametrize(
    "text", ['a: "\\ud800"', 'a: "\\U7fffffff"', "a: \x01", 'a: "\\xZZ"', '"\\udc00": 1', "%YAML 9.9\n---\na: 1"]
)
def test_characters_that_cannot_be_are_problems(text: str) -> None:
    assert faults(text)


def test_lines_are_those_of_the_keys() -> None:
    problems = Problems()
    node = yaml_text.read("a:\n  - b\n  -\n    c: 1\nd:\n\n  e", problems)
    assert node is not None
    assert isinstance(node.value, dict)
    items = node.value["a"].value
    assert isinstance(items, list)
    assert [node.value["a"].line, items[0].line, items[1].line, node.value["d"].line] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    "text",
    [
        "08",
        "1e3",
        "0o17",
        "1.",
        ".5",
        "no",
        "true",
        "~",
        "",
        "2026-01-31",
        "1_0",
        "- a",
        "a: b",
        "#",
        "é",
        "a\nb",
        "1:30",
        "\x85",
        "\u2028",
        "\ta",
        "\x1f",
        "x " * 200,
    ],
)
def test_text_is_written_so_that_every_reader_takes_it_for_text(text: str) -> None:
    written = yaml_text.write({"k": text, text: ["k"]})
    assert read(written) == {"k": text, text: ["k"]}
    assert yaml.safe_load(written) == {"k": text, text: ["k"]}


def test_what_is_written_stays_readable() -> None:
    assert yaml_text.write({"b": 1, "a": ["v1", True, 2.5]}) == "b: 1\na:\n- v1\n- true\n- 2.5\n"
