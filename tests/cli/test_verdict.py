from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.cli.verdict import VersionVerdict, judged, repetition
from graymw.core.facts import RequestFacts
from graymw.core.model import Fact, Release, RuleDocument, StickyKey
from graymw.core.simulating import ReleaseShare, RuleShare, SimulationReport, VersionShare

USERS = StickyKey(Fact("user"))
DOCUMENT = RuleDocument((Release("shop", "v1", sticky=(USERS,)),))


def verdict(count: int, total: int, asked: float, repeated: float = 1.0, reason: str = "split") -> VersionVerdict:
    error = math.sqrt(asked * (1 - asked) / total) if total else 0.0
    version = VersionShare("v2", count, count / total if total else asked, asked, error)
    rule = RuleShare("canary", reason, total, 1.0, (version,))  # type: ignore[arg-type]
    report = SimulationReport("0a0a0a0a", total, (ReleaseShare("shop", "v1", (version,), (rule,)),))
    (found,) = judged(report, None, {"shop": repeated})
    return found.versions[0]


class TestVerdicts:
    @pytest.mark.parametrize(("count", "within"), [(1_000, True), (1_119, True), (1_121, False), (879, False)])
    def test_four_standard_deviations_are_allowed(self, count: int, within: bool) -> None:
        assert verdict(count, 10_000, 0.1).within is within

    def test_the_distance_is_in_standard_deviations(self) -> None:
        assert verdict(1_060, 10_000, 0.1).deviations == pytest.approx(2.0)

    def test_one_request_of_few_proves_nothing(self) -> None:
        assert verdict(1, 10, 0.0025).within is True
        assert verdict(2, 10, 0.0025).within is False

    def test_all_and_none_leave_nothing_to_chance(self) -> None:
        assert verdict(100, 100, 1.0).within is True
        assert verdict(90, 100, 1.0).within is False
        assert verdict(90, 100, 1.0).deviations == math.inf

    def test_users_that_come_again_widen_the_spread(self) -> None:
        assert verdict(1_200, 10_000, 0.1).within is False
        assert verdict(1_200, 10_000, 0.1, repeated=4.0).within is True

    def test_a_rule_that_decided_nothing_or_splits_nothing_is_not_judged(self) -> None:
        assert verdict(0, 0, 0.1) == VersionVerdict("v2", 0, 0.0, 0.1)
        assert verdict(7, 7, 1.0, reason="match") == VersionVerdict("v2", 7, 1.0)

    def test_only_the_wanted_release_is_judged(self) -> None:
        report = SimulationReport("", 0, (ReleaseShare("shop", "v1", (), ()),))
        assert judged(report, "other", {}) == []


class TestRepetition:
    def of(self, users: list[str | None]) -> float:
        return repetition(DOCUMENT, [RequestFacts(user=user) for user in users])["shop"]

    def test_keys_that_come_once_repeat_nothing(self) -> None:
        assert self.of(["1", "2", "3"]) == 1.0
        assert self.of([]) == 1.0

    def test_it_is_the_mean_number_of_requests_that_share_a_key(self) -> None:
        assert self.of(["1"] * 5) == 5.0
        assert self.of(["1", "1", "2", "2"]) == 2.0
        assert self.of(["1", "1", "1", "2"]) == 2.5

    def test_requests_without_a_key_are_drawn_each_for_itself(self) -> None:
        assert self.of([None, None, None]) == 1.0

    @given(users=st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1))
    def test_it_lies_between_all_different_and_all_the_same(self, users: list[str | None]) -> None:
        assert 1.0 <= self.of(users) <= len(users)
