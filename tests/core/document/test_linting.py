"""Releases among each other, and labels of instances."""

from __future__ import annotations

import pytest

from graymw.core import document
from graymw.core.model import MAX_CARRIED, MAX_RELEASES
from graymw.errors import Problem


def problems(releases: str) -> tuple[Problem, ...]:
    return document.examine(f"schema: 1\nreleases:\n{releases}").problems


def many(number: int, enabled: str = "true") -> str:
    return "".join(f"  r{index}: {{stable: v1, services: [s{index}], enabled: {enabled}}}\n" for index in range(number))


def test_a_service_belongs_to_one_release() -> None:
    (problem,) = problems("  a: {stable: v1, services: [orders]}\n  b: {stable: v1, services: [search, orders]}")
    assert problem == Problem(
        "releases.b.services[1]", "the service 'orders' belongs to release a already", "keep it in one of the two", 4
    )


def test_a_switched_off_release_still_owns_its_services() -> None:
    (problem,) = problems("  a: {stable: v1, services: [1], enabled: false}\n  b: {stable: v1, services: [1]}")
    assert problem.path == "releases.b.services[0]"


def test_one_release_at_most_takes_the_rest() -> None:
    (problem,) = problems("  a: {stable: v1}\n  b: {stable: v1, services: [x]}\n  c: {stable: v1}")
    assert problem == Problem(
        "releases.c", "`services` is missing here as in release a", "name the services of one of the two", 5
    )


def test_as_many_releases_as_baggage_carries_may_be_enabled() -> None:
    assert problems(many(MAX_RELEASES)) == ()
    (problem,) = problems(many(MAX_RELEASES + 1))
    assert (problem.path, problem.message) == (
        f"releases.r{MAX_RELEASES}",
        "33 releases are enabled, at most 32 may be",
    )


def test_switched_off_releases_do_not_count() -> None:
    assert problems(many(MAX_RELEASES + 8, enabled="false")) == ()


def test_there_are_no_more_releases_than_the_baggage_of_a_request_can_hold() -> None:
    assert problems(many(MAX_CARRIED, enabled="false")) == ()
    (problem,) = problems(many(MAX_CARRIED + 1, enabled="false"))
    assert (problem.path, problem.message) == (
        f"releases.r{MAX_CARRIED}",
        "there are 63 releases, at most 62 fit into the baggage of a request",
    )


def test_labels_are_for_services_of_the_release() -> None:
    (problem,) = problems("  a: {stable: v1, services: [orders], versions: {order: {v1: '3.1'}}}")
    assert (problem.path, problem.severity, problem.mend) == (
        "releases.a.versions.order",
        "error",
        "did you mean orders?",
    )


def test_a_release_for_the_rest_may_label_any_service() -> None:
    assert problems("  a: {stable: v1, versions: {order: {v1: '3.1'}}}") == ()


def test_a_label_of_a_version_that_no_rule_gives_is_a_warning() -> None:
    (problem,) = problems("  a: {stable: v1, versions: {pay: {v22: '3.2'}}, rules: [{split: {v2: 1%}}]}")
    assert (problem.path, problem.severity, problem.mend) == (
        "releases.a.versions.pay.v22",
        "warning",
        "did you mean v2?",
    )


@pytest.mark.parametrize("rule", ["{use: v22}", "{split: {v22: 1%}}", "{use: 1.0}"])
def test_a_label_that_a_rule_gives_or_may_give_is_fine(rule: str) -> None:
    told = problems(f"  a: {{stable: v1, versions: {{pay: {{v22: '3.2'}}}}, rules: [{rule}]}}")
    assert "warning" not in {problem.severity for problem in told}
