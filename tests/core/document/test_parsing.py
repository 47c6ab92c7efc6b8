"""The keys of the document and of a release."""

# ruff: noqa: E501 - a table reads best with one case per line

from __future__ import annotations

import pytest

from graymw.core import document
from graymw.core.model import Fact, Release, StickyKey
from graymw.errors import Problem


def release(text: str) -> Release:
    """The release ``a`` of a document with these keys in flow style."""
    return document.parse(f"schema: 1\nreleases:\n  a: {{stable: v1, {text}}}").releases[0]


def faults(text: str, stable: str = "stable: v1, ") -> list[tuple[str, str, str]]:
    problems = document.examine(f"schema: 1\nreleases:\n  a: {{{stable}{text}}}").problems
    return [(problem.path.removeprefix("releases.a"), problem.message, problem.mend) for problem in problems]


def test_what_is_left_out_has_its_default() -> None:
    made = release("")
    assert made == Release(
        name="a",
        stable="v1",
        services=None,
        fallback="stable",
        sticky=(StickyKey(Fact("user")), StickyKey(Fact("cookie", "gray_id"), issue=True)),
        seed="a",
        enabled=True,
        versions={},
        rules=(),
        min_instances=1,
    )


def test_a_version_may_need_several_instances() -> None:
    assert release("min_instances: 3").min_instances == 3


def test_sticky_keys_name_where_the_bucket_comes_from() -> None:
    made = release("sticky: [ip, 'header:X-Account', 'cookie:Uid', 'query:uid', cookie]")
    assert made.sticky == (
        StickyKey(Fact("ip")),
        StickyKey(Fact("header", "x-account")),
        StickyKey(Fact("cookie", "Uid")),
        StickyKey(Fact("query", "uid")),
        StickyKey(Fact("cookie", "gray_id"), issue=True),
    )


def test_no_sticky_key_is_a_random_bucket() -> None:
    assert release("sticky: []").sticky == ()


def test_a_label_equal_to_its_version_says_nothing() -> None:
    assert release("versions: {orders: {v1: v1}, payments: {v1: v1, v1.5: '3.1'}}").versions == {
        "payments": {"v1.5": "3.1"}
    }


def test_a_version_may_be_a_whole_number() -> None:
    made = release("rules: [{use: 2}], versions: {payments: {1: 31}}")
    assert made.rules[0].use == "2"
    assert made.versions == {"payments": {"1": "31"}}


def test_releases_stay_in_the_written_order() -> None:
    made = document.parse("{schema: 1, releases: {b: {stable: v1, services: [x]}, a: {stable: v1}}}")
    assert [one.name for one in made.releases] == ["b", "a"]


def test_a_document_may_have_no_releases() -> None:
    assert document.parse("{schema: 1, releases: {}}").releases == ()


def test_rules_with_nothing_below_are_none() -> None:
    assert (
        document.parse("schema: 1\nreleases:\n  a:\n    stable: v1\n    rules:\n      # - use: v2\n").releases[0].rules
        == ()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fallback: non", ("fallback", "unknown fallback 'non'", "use one of stable, any, refuse")),
        ("enabled: no", ("enabled", "`enabled` is the text 'no', not a truth value", "write false without quotes")),
        ("services: orders", ("services", "`services` must be a list, not the text 'orders'", "write it like services: [orders, payments]")),
        *(
            (f"min_instances: {written}", ("min_instances", f"`min_instances` must be a whole number from 1 to 10000, not {told}", "write how many fit instances a version needs, such as 2"))
            for written, told in (("0", "the number 0"), ("1.5", "the number 1.5"), ("'2'", "the text '2'"), ("true", "the truth value true"), ("10001", "the number 10001"))
        ),
        ("services: []", ("services", "`services` is empty", "name one, or leave the key out to govern every other service")),
        ("services: ~", ("services", "`services` must be a list, not empty", "write it like services: [orders, payments]")),
        ("services: [or ders]", ("services[0]", "'or ders' cannot name a service", "use at most 128 letters, digits and ._:/@-")),
        ("services: [x, y, x]", ("services[2]", "the service 'x' stands twice", "keep one")),
        ("sticky: user", ("sticky", "`sticky` must be a list, not the text 'user'", "write it like sticky: [user, cookie]")),
        ("sticky: [usr]", ("sticky[0]", "unknown sticky key 'usr'", "did you mean user?")),
        ("sticky: [header]", ("sticky[0]", "unknown sticky key 'header'", "write header:NAME")),
        ("sticky: ['header:']", ("sticky[0]", "'header:' names no header", "write it like header:x-account")),
        ("sticky: ['region:eu']", ("sticky[0]", "unknown sticky key 'region:eu'", "use one of user, cookie, ip, header:NAME, cookie:NAME, query:NAME")),
        ("sticky: [user, user]", ("sticky[1]", "the sticky key 'user' stands twice", "keep one")),
        ("seed: ' x'", ("seed", "the seed is too long or not printable", "use at most 128 printable characters")),
        ("seed: 1.10", ("seed", "the seed 1.10 is read as the number 1.1, not as text", 'write "1.10" in quotes')),
        ("versions: [v2]", ("versions", "`versions` must be a mapping, not a list", 'write it like versions: {payments: {v2: "3.2"}}')),
        ("versions: {pay: v2}", ("versions.pay", "labels of a service must be a mapping, not the text 'v2'", 'write it like {v2: "3.2"}')),
        ("versions: {pay: {v1: 3.10}}", ("versions.pay.v1", "the version 3.10 is read as the number 3.1, not as text", 'write "3.10" in quotes')),
        ("versions: {pay: {v 1: x}}", ("versions.pay['v 1']", "'v 1' cannot name a version", "use at most 64 letters, digits, dots, hyphens and underscores, a letter or digit first")),
        ("rules: {use: v2}", ("rules", "`rules` must be a list, not a mapping", "write it like rules: [{name: testers, match: {user: [alice]}, use: v2}]")),
        ("split: {v2: 1%}", ("split", "unknown key 'split'", "put `split` into a rule: rules: [{split: ...}]")),
        ("enabeld: true", ("enabeld", "unknown key 'enabeld'", "did you mean enabled?")),
    ],
)  # fmt: skip
def test_each_fault_of_a_release_has_its_path_and_mend(text: str, expected: tuple[str, str, str]) -> None:
    path, message, mend = expected
    assert faults(text) == [(f".{path}", message, mend)]


def test_a_release_needs_its_stable_version() -> None:
    assert faults("rules: []", stable="") == [
        ("", "`stable` is missing", "name the version that everyone else gets: stable: v1")
    ]


@pytest.mark.parametrize("version", ["-v2", "v 2", "v2/x", "é", "x" * 65])
def test_what_cannot_name_a_version_is_refused(version: str) -> None:
    (fault,) = faults("", stable=f"stable: '{version}'")
    assert fault[0] == ".stable"
    assert fault[1].endswith("cannot name a version")


@pytest.mark.parametrize("name", ["Checkout", "-a", "a.b", "a" * 64, "ä"])
def test_what_cannot_name_a_release_is_refused(name: str) -> None:
    (problem,) = document.examine({"schema": 1, "releases": {name: {"stable": "v1"}}}).problems
    assert problem.message.endswith("cannot name a release")


@pytest.mark.parametrize("written", ["2", "'1'", "1.0", "true", "~", "[1]"])
def test_another_schema_is_refused(written: str) -> None:
    (problem,) = document.examine(f"schema: {written}\nreleases: {{}}").problems
    assert (problem.path, problem.line, problem.mend) == ("schema", 1, "write `schema: 1`")


def test_a_document_without_releases_is_refused() -> None:
    (problem,) = document.examine("schema: 1").problems
    assert problem == Problem(
        "",
        "`releases` is missing",
        "write releases: {checkout: {stable: v1, rules: []}}, or `releases: {}` for none",
        1,
    )


@pytest.mark.parametrize(
    ("key", "mend"),
    [
        ("release", "did you mean releases?"),
        ("shcema", "did you mean schema?"),
        ("stable", "put `stable` into a release: releases: {NAME: {stable: ...}}"),
    ],
)
def test_an_unknown_key_of_the_document_is_refused(key: str, mend: str) -> None:
    (problem,) = document.examine(f"schema: 1\nreleases: {{}}\n{key}: 1").problems
    assert (problem.path, problem.line, problem.mend) == (key, 3, mend)


@pytest.mark.parametrize("value", ["v1", "[v1]", ""])
def test_a_release_that_is_no_mapping_is_refused(value: str) -> None:
    (problem,) = document.examine(f"schema: 1\nreleases:\n  a: {value}").problems
    assert problem.path == "releases.a"
    assert problem.mend == "write it like checkout: {stable: v1, rules: []}"
