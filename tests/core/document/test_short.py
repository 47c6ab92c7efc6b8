"""The short form: four settings instead of a file."""

from __future__ import annotations

import pytest

from graymw.core import document, model
from graymw.core.model import Expression, Fact, Rule, Split

HEADER = Rule("header", model.Test(Fact("header", "x-gray-version"), "exact", "true"), "v2")


def made(ratio: str | None = None, when: str | None = None, gray: str = "v2", stable: str = "v1") -> model.RuleDocument:
    examined = document.examine_short_form(ratio=ratio, when=when, gray=gray, stable=stable)
    assert examined.problems == ()
    assert examined.document is not None
    return examined.document


def faults(
    ratio: str | None = None, when: str | None = None, gray: str = "v2", stable: str = "v1"
) -> list[tuple[str, str]]:
    examined = document.examine_short_form(ratio=ratio, when=when, gray=gray, stable=stable)
    assert examined.document is None
    return [(problem.path, problem.mend) for problem in examined.problems]


def test_it_is_one_release_for_all_services() -> None:
    (release,) = made().releases
    assert (release.name, release.services, release.stable, release.seed) == ("default", None, "v1", "default")
    assert release.rules == (HEADER,)


def test_the_header_comes_first_then_the_expression_then_the_share() -> None:
    assert made(ratio="10%", when="uid % 10 == 0").releases[0].rules == (
        HEADER,
        Rule("when", Expression("uid % 10 == 0"), "v2"),
        Rule("ratio", None, None, Split((("v2", 1000),))),
    )


@pytest.mark.parametrize(("ratio", "parts"), [("10%", 1000), ("10", 1000), ("0.25%", 25), (" 5 % ", 500)])
def test_a_ratio_is_written_as_in_a_document(ratio: str, parts: int) -> None:
    assert made(ratio=ratio).releases[0].rules[1].split == Split((("v2", parts),))


def test_its_mapping_is_a_document_like_any_other() -> None:
    plain = document.short_form(ratio="10%", when=None, gray="v3", stable="v2")
    assert document.parse(plain) == made(ratio="10%", gray="v3", stable="v2")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ratio": "0.5"}, [("GRAYMW_GRAY_RATIO", "write 0.5% or 50%")]),
        ({"ratio": "200%"}, [("GRAYMW_GRAY_RATIO", "write a share of at most 100%")]),
        ({"when": "uid = 1"}, [("GRAYMW_GRAY_WHEN", "write == to compare")]),
        ({"when": ""}, [("GRAYMW_GRAY_WHEN", "write some text or leave it out")]),
        ({"gray": "v 2"}, [("GRAYMW_GRAY_VERSION", "write it like v2")]),
        ({"stable": ""}, [("GRAYMW_STABLE_VERSION", "write it like v1")]),
        ({"gray": "v1"}, [("GRAYMW_GRAY_VERSION", "set it or GRAYMW_STABLE_VERSION to another")]),
    ],
)
def test_a_problem_names_its_setting(settings: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert faults(**settings) == expected


def test_each_fault_is_told_once_however_many_rules_it_gets_into() -> None:
    assert [path for path, _ in faults(ratio="x", when="uid %", gray="-", stable="-")] == [
        "GRAYMW_GRAY_WHEN",
        "GRAYMW_GRAY_RATIO",
        "GRAYMW_GRAY_VERSION",
        "GRAYMW_STABLE_VERSION",
        "GRAYMW_GRAY_VERSION",
    ]
