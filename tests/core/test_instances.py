from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.instances import Candidates, Instance, InstanceTable, select
from graymw.core.model import Fallback


def instance(version: str, port: int = 8001, weight: int = 1, *, gray: bool = False) -> Instance:
    return Instance("orders", "10.0.0.1", port, version, weight, gray=gray)


STABLE = instance("v1", 8001)
GRAY = instance("v2", 8002)
OTHER_GRAY = instance("v3", 8003)
UNLABELLED = instance("", 8004)
TABLE = InstanceTable([STABLE, GRAY, OTHER_GRAY])

FALLBACKS: tuple[Fallback, ...] = ("stable", "any", "refuse")
labels = st.sampled_from(["v1", "v2", "v3", ""])
instances = st.builds(
    instance,
    labels,
    st.integers(1, 65_535),
    st.integers(-1, 5),
    gray=st.booleans(),
)


class TestInstance:
    @pytest.mark.parametrize(
        ("host", "authority"),
        [
            ("10.0.0.1", "10.0.0.1:80"),
            ("orders-7.internal", "orders-7.internal:80"),
            ("::1", "[::1]:80"),
            ("fd00::7", "[fd00::7]:80"),
        ],
    )
    def test_its_authority_brackets_ipv6(self, host: str, authority: str) -> None:
        assert Instance("orders", host, 80, "v1").authority == authority

    def test_it_is_a_hashable_value_whatever_its_metadata(self) -> None:
        one = Instance("orders", "a", 1, "v1", metadata={"rack": "r7"})
        assert hash(one) == hash(Instance("orders", "a", 1, "v1", metadata={"rack": "r8"}))
        assert one == Instance("orders", "a", 1, "v1", metadata={"rack": "r7"})
        assert one != Instance("orders", "a", 1, "v1", metadata={"rack": "r8"})

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            STABLE.port = 1  # type: ignore[misc]


class TestSelecting:
    def test_the_decided_version_takes_the_call(self) -> None:
        selection = select(TABLE, "v2", "v1", "stable", gray=True)
        assert (selection.instances, selection.fallback) == ((GRAY,), None)

    def test_stable_traffic_goes_to_stable_instances(self) -> None:
        selection = select(TABLE, "v1", "v1", "stable", gray=False)
        assert (selection.instances, selection.fallback) == ((STABLE,), None)

    def test_undecided_traffic_goes_to_stable_instances(self) -> None:
        assert select(TABLE, None, "v1", "any", gray=False).instances == (STABLE,)

    def test_a_missing_version_falls_back_to_stable(self) -> None:
        selection = select(TABLE, "v9", "v1", "stable", gray=True)
        assert (selection.instances, selection.fallback) == ((STABLE,), "stable")

    def test_a_missing_version_falls_back_to_any(self) -> None:
        selection = select(TABLE, "v9", "v1", "any", gray=True)
        assert (selection.instances, selection.fallback) == ((STABLE, GRAY, OTHER_GRAY), "any")

    def test_a_missing_version_is_refused_where_the_release_says_so(self) -> None:
        selection = select(TABLE, "v9", "v1", "refuse", gray=True)
        assert (selection.instances, selection.fallback) == ((), "refuse")

    def test_falling_back_to_a_stable_version_that_is_missing_too_is_refused(self) -> None:
        assert select(InstanceTable([OTHER_GRAY]), "v2", "v1", "stable", gray=True).fallback == "refuse"

    def test_a_drained_version_counts_as_missing(self) -> None:
        table = InstanceTable([STABLE, instance("v2", 8002, weight=0)])
        assert select(table, "v2", "v1", "stable", gray=True).instances == (STABLE,)

    def test_without_a_governing_release_all_instances_count(self) -> None:
        selection = select(TABLE, None, None, "stable", gray=False)
        assert (selection.instances, selection.fallback) == ((STABLE, GRAY, OTHER_GRAY), None)

    def test_an_instance_without_a_label_takes_stable_traffic_only(self) -> None:
        table = InstanceTable([STABLE, GRAY, UNLABELLED])
        assert select(table, "v1", "v1", "stable", gray=False).instances == (STABLE, UNLABELLED)
        assert select(table, "v2", "v1", "stable", gray=True).instances == (GRAY,)
        assert select(InstanceTable([UNLABELLED]), None, "v1", "stable", gray=False).instances == (UNLABELLED,)

    def test_an_empty_label_is_no_version_to_ask_for(self) -> None:
        assert select(InstanceTable([UNLABELLED]), "", "v1", "refuse", gray=True).fallback == "refuse"

    def test_a_service_without_instances_is_refused(self) -> None:
        assert all(
            select(InstanceTable(), "v2", stable, fallback, gray=gray).fallback == "refuse"
            for stable in ("v1", None)
            for fallback in FALLBACKS
            for gray in (True, False)
        )

    def test_an_instance_marked_gray_takes_no_calls_to_a_service_without_a_release(self) -> None:
        table = InstanceTable([STABLE, instance("v1", 9, gray=True), instance("", 10, gray=True)])
        assert select(table, None, None, "any", gray=False).instances == (STABLE,)
        assert select(InstanceTable([instance("v1", gray=True)]), None, None, "any", gray=False).fallback == "refuse"

    def test_where_a_release_governs_the_label_says_more_than_the_mark(self) -> None:
        promoted = instance("v2", 8002, gray=True)
        table = InstanceTable([STABLE, promoted])
        assert select(table, "v2", "v1", "stable", gray=True).instances == (promoted,)
        assert select(table, "v2", "v2", "stable", gray=False).instances == (promoted,)
        assert select(table, None, "v2", "stable", gray=False).instances == (promoted,)

    def test_an_instance_marked_gray_without_a_label_takes_only_what_falls_back_to_any(self) -> None:
        marked = instance("", 8005, gray=True)
        table = InstanceTable([STABLE, marked])
        assert select(table, "v1", "v1", "stable", gray=False).instances == (STABLE,)
        assert select(table, "v2", "v1", "stable", gray=True).instances == (STABLE,)
        assert select(table, "v2", "v1", "any", gray=True).instances == (STABLE, marked)
        assert select(InstanceTable([marked]), "v1", "v1", "any", gray=False).fallback == "refuse"

    def test_too_few_instances_of_a_version_are_none(self) -> None:
        table = InstanceTable([STABLE, GRAY])
        assert select(table, "v2", "v1", "stable", gray=True, min_instances=1).instances == (GRAY,)
        assert select(table, "v2", "v1", "stable", gray=True, min_instances=2).fallback == "stable"
        assert select(table, "v2", "v1", "any", gray=True, min_instances=2).fallback == "any"
        assert select(table, "v2", "v1", "refuse", gray=True, min_instances=2).fallback == "refuse"

    def test_only_fit_instances_make_a_version(self) -> None:
        table = InstanceTable([STABLE, GRAY, instance("v2", 8005)])

        def one_of_v2(candidates: Candidates) -> int:
            return len(candidates) - (GRAY in candidates.instances)

        assert select(table, "v2", "v1", "stable", gray=True, min_instances=2, fit=one_of_v2).fallback == "stable"
        assert select(table, "v2", "v1", "stable", gray=True, min_instances=1, fit=one_of_v2).fallback is None

    def test_a_version_that_is_all_unfit_is_tried_where_nobody_may_or_could_stand_in_for_it(self) -> None:
        for fallback in FALLBACKS:
            assert select(TABLE, "v2", "v1", fallback, gray=True, fit=lambda _: 0).instances == (GRAY,)
        unfit_v2 = {"v2": 0}
        selection = select(
            TABLE, "v2", "v1", "refuse", gray=True, fit=lambda found: unfit_v2.get(found.instances[0].version, 1)
        )
        assert (selection.instances, selection.fallback) == ((GRAY,), None)

    def test_stable_instances_are_tried_however_unfit(self) -> None:
        assert select(TABLE, "v1", "v1", "stable", gray=False, fit=lambda _: 0).instances == (STABLE,)

    @given(
        st.lists(instances, max_size=8),
        labels | st.none(),
        st.sampled_from(["v1", None]),
        st.sampled_from(FALLBACKS),
        st.integers(1, 3),
        st.integers(0, 8),
    )
    def test_traffic_that_is_not_gray_never_reaches_a_gray_instance_whatever_fails(
        self,
        members: list[Instance],
        label: str | None,
        stable: str | None,
        fallback: Fallback,
        min_instances: int,
        fit: int,
    ) -> None:
        selection = select(
            InstanceTable(members),
            label,
            stable,
            fallback,
            gray=False,
            min_instances=min_instances,
            fit=lambda _: fit,
        )
        for one in selection.instances:
            if stable is None:
                assert not one.gray
            else:
                assert one.version == stable or (one.version == "" and not one.gray)

    @given(
        st.lists(instances, max_size=8),
        labels | st.none(),
        st.sampled_from(["v1", "v2", None]),
        st.sampled_from(FALLBACKS),
        st.booleans(),
    )
    def test_refusing_and_having_nobody_are_the_same(
        self, members: list[Instance], label: str | None, stable: str | None, fallback: Fallback, gray: bool
    ) -> None:
        selection = select(InstanceTable(members), label, stable, fallback, gray=gray)
        assert (not selection.candidates) == (selection.fallback == "refuse")
        assert all(one.weight > 0 and one in members for one in selection.instances)

    @given(st.lists(instances, max_size=8), labels, st.sampled_from(FALLBACKS))
    def test_gray_traffic_gets_its_version_wherever_there_is_one(
        self, members: list[Instance], label: str, fallback: Fallback
    ) -> None:
        selection = select(InstanceTable(members), label, "v1", fallback, gray=True)
        wanted = tuple(one for one in members if label and one.version == label and one.weight > 0)
        if wanted:
            assert (selection.instances, selection.fallback) == (wanted, None)
        else:
            assert selection.fallback is not None
