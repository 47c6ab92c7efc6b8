"""TOML with the lines that its parser forgets."""

from __future__ import annotations

import pytest

from graymw.core import document
from graymw.core.document import toml_lines

RULES = """\
schema = 1 # [not.a.table]
[releases.checkout]
services = [
  "orders", # ]
  "pay[ments",
]
stable = \"\"\"
[releases.fake]
v1\"\"\"

[[releases.checkout.rules]]
name = "a"
[releases.checkout.rules.match.header]
"x-a" = 1.10
[[releases.checkout.rules]]
use = "v2"
match.user = 7
[releases."other.one"]
stable = 'v1'
"""


def test_lines_of_tables_keys_and_items_are_found() -> None:
    assert toml_lines.lines_of(RULES) == {
        "schema": 1,
        "releases": 2,
        "releases.checkout": 2,
        "releases.checkout.services": 3,
        "releases.checkout.stable": 7,
        "releases.checkout.rules": 11,
        "releases.checkout.rules[0]": 11,
        "releases.checkout.rules[0].name": 12,
        "releases.checkout.rules[0].match": 13,
        "releases.checkout.rules[0].match.header": 13,
        "releases.checkout.rules[0].match.header.x-a": 14,
        "releases.checkout.rules[1]": 15,
        "releases.checkout.rules[1].use": 16,
        "releases.checkout.rules[1].match": 17,
        "releases.checkout.rules[1].match.user": 17,
        "releases['other.one']": 18,
        "releases['other.one'].stable": 19,
    }


def test_problems_have_their_lines() -> None:
    problems = document.examine(RULES).problems
    assert [(problem.line, problem.path) for problem in problems] == [
        (3, "releases.checkout.services[1]"),
        (7, "releases.checkout.stable"),
        (11, "releases.checkout.rules[0]"),
        (14, "releases.checkout.rules[0].match.header.x-a"),
        (18, "releases['other.one']"),
    ]


def test_a_number_is_named_as_written() -> None:
    mends = [problem.mend for problem in document.examine(RULES).problems]
    assert 'write "1.10" in quotes' in mends


AFTER = """
schema = 1
[releases.a]
stable = "v1"
rules = [{match = {after = TIME}, use = "v2"}]
"""


def test_times_need_no_quotes() -> None:
    bare = AFTER.replace("TIME", "2026-01-31T12:00:00Z")
    assert document.parse(bare) == document.parse(AFTER.replace("TIME", '"2026-01-31T12:00:00Z"'))


def test_a_time_without_zone_is_told_so() -> None:
    (problem,) = document.examine(AFTER.replace("TIME", "2026-01-31T12:00:00")).problems
    assert problem.mend == "add the zone: 2026-01-31T12:00:00Z"


def test_broken_syntax_has_its_line() -> None:
    (problem,) = document.examine("schema = 1\nreleases = \n").problems
    assert problem.line == 2
    assert problem.message.startswith("not TOML: ")


@pytest.mark.parametrize("text", ["a=" + "[" * 5000, "a=" + "{a=" * 5000, "a=" + "1" * 5000])
def test_what_would_exhaust_the_parser_is_a_problem(text: str) -> None:
    (problem,) = document.examine(text, format="toml").problems
    assert problem.message.startswith("not TOML: ")


@pytest.mark.parametrize("text", ["a." * 40 + "a = 1", "[" + "a." * 40 + "a]", "x = {" + '"a" . ' * 40 + "a = 1}"])
def test_a_key_of_endless_parts_is_refused_before_it_is_read(text: str) -> None:
    (problem,) = document.examine("schema = 1\n" + text, format="toml").problems
    assert (problem.line, problem.message) == (2, "a dotted key of more than 32 parts")
