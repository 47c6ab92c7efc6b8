"""Deciding."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import NOW, documents, requests

from graymw.core.bucketing import bucket
from graymw.core.context import UNDECIDED, Decision, GrayContext
from graymw.core.facts import RequestFacts
from graymw.core.model import (
    AllOf,
    AnyOf,
    Condition,
    Expression,
    Fact,
    Not,
    Release,
    Rule,
    RuleDocument,
    Split,
    StickyKey,
)
from graymw.core.model import Test as FactTest
from graymw.core.ruleset import RuleSet, compile_rules

USER = StickyKey(Fact("user"))
COOKIE = StickyKey(Fact("cookie", "gray_id"), issue=True)
HALF = Split((("v2", 5_000),))


def release(*rules: Rule, name: str = "checkout", **rest: object) -> Release:
    return Release(**{"name": name, "stable": "v1", "seed": name, "sticky": (USER,), "rules": rules, **rest})  # type: ignore[arg-type]


def compiled(*releases: Release, **options: object) -> RuleSet:
    defaults: dict[str, object] = {"clock": lambda: NOW, "entropy": lambda: "fresh-random-key"}
    return compile_rules(RuleDocument(releases, revision="9f3c2a11"), **{**defaults, **options})  # type: ignore[arg-type]


def header(name: str, value: str) -> FactTest:
    return FactTest(Fact("header", name), "exact", value)


def only(context: GrayContext) -> tuple[str, str, str | None]:
    (decision,) = context.decisions.values()
    return decision.version, decision.reason, decision.rule


class TestRules:
    def test_the_first_rule_that_matches_decides(self) -> None:
        rules = compiled(
            release(
                Rule("one", header("x", "1"), use="v2"),
                Rule("two", header("x", "1"), use="v3"),
                Rule("three", None, use="v4"),
            )
        )

        assert only(rules.decide(RequestFacts(headers={"x": "1"}))) == ("v2", "match", "one")
        assert only(rules.decide(RequestFacts())) == ("v4", "match", "three")

    def test_without_a_matching_rule_the_request_is_stable(self) -> None:
        assert only(compiled(release(Rule("one", header("x", "1"), use="v2"))).decide(RequestFacts())) == (
            "v1", "default", None,
        )  # fmt: skip

    def test_a_disabled_release_keeps_everyone_on_stable(self) -> None:
        rules = compiled(release(Rule("all", None, use="v2"), enabled=False))

        assert only(rules.decide(RequestFacts(user="a"))) == ("v1", "disabled", None)

    def test_a_decision_says_what_it_was_decided_by(self) -> None:
        context = compiled(release(Rule("all", None, use="v2"))).decide(RequestFacts())

        assert context.decisions["checkout"] == Decision("checkout", "v2", "match", "all", "9f3c2a11", "v1")
        assert context.revision == "9f3c2a11"
        assert context.wire == "gray.checkout=v2,gray-rev=9f3c2a11"

    def test_time_is_the_clock(self) -> None:
        now = itertools.count(100)
        window = AllOf((FactTest(Fact("time"), "ge", 101), FactTest(Fact("time"), "lt", 102)))
        rules = compiled(release(Rule("window", window, use="v2")), clock=lambda: next(now))

        assert [rules.decide(RequestFacts()).version() for _ in range(4)] == ["v1", "v2", "v1", "v1"]

    @pytest.mark.parametrize(
        ("condition", "facts", "holds"),
        [
            (FactTest(Fact("user"), "exact", "bob"), {"user": "bob"}, True),
            (FactTest(Fact("user"), "exact", "bob"), {}, False),
            (FactTest(Fact("region"), "in", ("eu", "uk")), {"region": "uk"}, True),
            (FactTest(Fact("path"), "prefix", "/api"), {"path": "/api/x"}, True),
            (FactTest(Fact("path"), "suffix", ".js"), {"path": "/a.js"}, True),
            (FactTest(Fact("host"), "contains", "shop"), {"host": "a.shop.b"}, True),
            (FactTest(Fact("user"), "regex", "b.*"), {"user": "ab"}, False),
            (FactTest(Fact("user"), "regex", "b.*"), {"user": "bob"}, True),
            (FactTest(Fact("user"), "exists", True), {}, False),
            (FactTest(Fact("user"), "exists", False), {}, True),
            (FactTest(Fact("user"), "exists", True), {"user": ""}, True),
            (FactTest(Fact("user"), "gt", 9), {"user": "10"}, True),
            (FactTest(Fact("user"), "gt", 9), {"user": "ten"}, False),
            (FactTest(Fact("user"), "le", 2.5), {"user": "2.5"}, True),
            (FactTest(Fact("user"), "mod", (10, 0)), {"user": "40"}, True),
            (FactTest(Fact("user"), "mod", (10, -3)), {"user": "-13"}, True),
            (FactTest(Fact("user"), "mod", (10, 7)), {"user": "-13"}, False),
            (FactTest(Fact("user"), "mod", (-10, 3)), {"user": "13"}, True),
            (FactTest(Fact("user"), "mod", (10, 0)), {"user": "4.0"}, False),
            (FactTest(Fact("header", "app"), "semver", ">=2.1 <3"), {"headers": {"app": "2.1"}}, True),
            (FactTest(Fact("ip"), "cidr", ("10.0.0.0/8",)), {"ip": "10.2.3.4"}, True),
            (FactTest(Fact("ip"), "cidr", ("10.0.0.0/8",)), {"ip": "::ffff:10.2.3.4"}, True),
            (FactTest(Fact("ip"), "cidr", ("10.0.0.0/8",)), {"ip": "nonsense"}, False),
            (FactTest(Fact("cookie", "a"), "exact", "1"), {"cookies": {"a": "1"}}, True),
            (FactTest(Fact("query", "a"), "exact", "1"), {"query": {"a": "1"}}, True),
            (Not(FactTest(Fact("user"), "exact", "bob")), {}, True),
            (AllOf(()), {}, True),
            (AnyOf(()), {}, False),
            (Expression("uid % 10 == 0"), {"user": "40"}, True),
            (Expression("uid % 10 == 0"), {}, False),
            (Not(Expression("uid % 10 == 0")), {}, True),
        ],
    )  # fmt: skip
    def test_conditions(self, condition: Condition, facts: dict[str, object], holds: bool) -> None:
        rules = compiled(release(Rule("r", condition, use="v2")))

        assert (rules.decide(RequestFacts(**facts)).version() == "v2") is holds  # type: ignore[arg-type]


class TestSplits:
    def test_the_bucket_of_the_key_decides_the_version(self) -> None:
        rules = compiled(release(Rule("canary", None, split=Split((("v2", 1_000), ("v3", 25))))))
        for number in range(500):
            drawn = bucket("checkout", f"user-{number}")
            expected = "v2" if drawn < 1_000 else "v3" if drawn < 1_025 else "v1"

            assert only(rules.decide(RequestFacts(user=f"user-{number}"))) == (expected, "split", "canary")

    def test_several_splits_of_a_release_share_the_bucket(self) -> None:
        rules = compiled(
            release(
                Rule("eu", FactTest(Fact("region"), "exact", "eu"), split=HALF),
                Rule("rest", None, split=Split((("v2", 1_000),))),
            )
        )
        for number in range(200):
            user = f"user-{number}"
            drawn = bucket("checkout", user)

            assert rules.decide(RequestFacts(user=user, region="eu")).version() == ("v2" if drawn < 5_000 else "v1")
            assert rules.decide(RequestFacts(user=user)).version() == ("v2" if drawn < 1_000 else "v1")

    def test_equal_seeds_share_cohorts(self) -> None:
        split = Rule("canary", None, split=HALF)
        rules = compiled(
            release(split, seed="s"), release(split, name="search", seed="s"), release(split, name="other")
        )
        contexts = [rules.decide(RequestFacts(user=str(number))) for number in range(300)]

        assert all(context.version("checkout") == context.version("search") for context in contexts)
        assert any(context.version("checkout") != context.version("other") for context in contexts)

    def test_the_first_sticky_fact_that_is_there_is_the_key(self) -> None:
        rules = compiled(
            release(
                Rule("canary", None, split=HALF),
                sticky=(USER, StickyKey(Fact("header", "x-device-id")), StickyKey(Fact("ip"))),
            )
        )

        def version(key: str) -> str:
            return "v2" if bucket("checkout", key) < 5_000 else "v1"

        for number in range(50):
            user, device, ip = f"u{number}", f"d{number}", f"10.0.0.{number}"
            assert rules.decide(RequestFacts(user=user, headers={"x-device-id": device}, ip=ip)).version() == version(
                user
            )
            assert rules.decide(RequestFacts(headers={"x-device-id": device}, ip=ip)).version() == version(device)
            assert rules.decide(RequestFacts(user="", ip=ip)).version() == version(ip)

    def test_undecodable_bytes_are_a_key_like_any_other(self) -> None:
        rules = compiled(release(Rule("canary", None, split=HALF)))
        for number in range(50):
            user = f"user-{number}\udcff"
            expected = "v2" if bucket("checkout", user) < 5_000 else "v1"

            assert only(rules.decide(RequestFacts(user=user))) == (expected, "split", "canary")

    @pytest.mark.parametrize(
        ("split", "version"),
        [
            (Split((("v2", 10_000),)), "v2"),
            (Split((("v2", 0), ("v3", 10_000))), "v3"),
            (Split((("v2", 0),)), "v1"),
            (Split(()), "v1"),
        ],
    )
    def test_all_or_nothing_needs_no_key(self, split: Split, version: str) -> None:
        rules = compiled(release(Rule("canary", None, split=split), sticky=(COOKIE,)), entropy=_unwanted)
        facts = RequestFacts()

        assert only(rules.decide(facts)) == (version, "split", "canary")
        assert facts.issued is None


class TestFreshKeys:
    def test_a_request_without_key_is_given_a_cookie_where_a_split_is_reached(self) -> None:
        rules = compiled(
            release(
                Rule("testers", header("x", "1"), use="v3"), Rule("canary", None, split=HALF), sticky=(USER, COOKIE)
            )
        )
        reached, not_reached = RequestFacts(), RequestFacts(headers={"x": "1"})

        assert rules.decide(reached).version() == ("v2" if bucket("checkout", "fresh-random-key") < 5_000 else "v1")
        assert reached.issued == "fresh-random-key"
        rules.decide(not_reached)
        assert not_reached.issued is None

    def test_all_releases_of_a_request_share_the_issued_key(self) -> None:
        keys = map("random-key-{:04}".format, itertools.count())
        split = Rule("canary", None, split=HALF)
        rules = compiled(
            release(split, sticky=(COOKIE,), seed="s"),
            release(split, name="search", sticky=(COOKIE,), seed="s"),
            entropy=lambda: next(keys),
        )
        for number in range(20):
            facts = RequestFacts()
            context = rules.decide(facts)

            assert facts.issued == f"random-key-{number:04}"
            assert context.version("checkout") == context.version("search")

    def test_a_cookie_that_came_in_is_the_key_and_none_is_issued(self) -> None:
        rules = compiled(release(Rule("canary", None, split=HALF), sticky=(COOKIE,)), entropy=_unwanted)
        for number in range(20):
            gray_id = f"visitor-{number:08}"
            facts = RequestFacts(cookies={"gray_id": gray_id})

            assert rules.decide(facts).version() == ("v2" if bucket("checkout", gray_id) < 5_000 else "v1")
            assert facts.issued is None

    @pytest.mark.parametrize("gray_id", ["", "short", "has space in it", "ümlaut-visitor", "x" * 129, "visitor-1\n"])
    def test_a_cookie_that_we_would_not_issue_counts_as_absent(self, gray_id: str) -> None:
        facts = RequestFacts(cookies={"gray_id": gray_id})
        compiled(release(Rule("canary", None, split=HALF), sticky=(COOKIE,))).decide(facts)

        assert facts.issued == "fresh-random-key"

    def test_without_issuing_the_bucket_is_random_for_this_request(self) -> None:
        keys = map("random-key-{:04}".format, itertools.count())
        rules = compiled(release(Rule("canary", None, split=HALF)), entropy=lambda: next(keys))
        facts = RequestFacts()
        versions = {rules.decide(facts).version() for _ in range(50)}

        assert versions == {"v1", "v2"}
        assert facts.issued is None


class TestSeveralReleases:
    def test_each_is_decided_in_the_order_of_the_document(self) -> None:
        rules = compiled(
            release(Rule("all", None, use="v2"), name="search"),
            release(Rule("beta", header("x", "1"), use="v3"), name="checkout"),
            service="orders",
        )
        context = rules.decide(RequestFacts())

        assert context.wire == "gray.search=v2,gray.checkout=v1,gray-rev=9f3c2a11"

    def test_the_release_that_governs_the_service_is_the_primary_one(self) -> None:
        releases = (
            release(Rule("all", None, use="v2"), name="search", services=("search",)),
            release(Rule("all", None, use="v3"), name="rest"),
        )

        assert compiled(*releases, service="search").decide(RequestFacts()).version() == "v2"
        assert compiled(*releases, service="orders").decide(RequestFacts()).version() == "v3"
        assert compiled(*releases).decide(RequestFacts()).version() is None

    def test_equal_outcomes_share_one_context(self) -> None:
        split = Rule("canary", None, split=HALF)
        for rules in (compiled(release(split)), compiled(release(split), release(split, name="search"))):
            contexts = [rules.decide(RequestFacts(user=str(number))) for number in range(200)]

            assert len({id(context) for context in contexts}) == len({context.wire for context in contexts})

    def test_very_many_combinations_do_not_grow_without_bound(self) -> None:
        split = Rule("canary", None, split=HALF)
        rules = compiled(*(release(split, name=f"r{number}") for number in range(32)))
        wires = set()
        for number in range(6_000):
            context = rules.decide(RequestFacts(user=str(number)))
            wires.add(context.wire)
            for index in (0, 31):
                drawn = bucket(f"r{index}", str(number))
                assert context.version(f"r{index}") == ("v2" if drawn < 5_000 else "v1")

        assert len(wires) > 5_000

    def test_a_document_without_releases_decides_nothing(self) -> None:
        assert not compiled().decide(RequestFacts())


class TestInheriting:
    INHERITED = GrayContext([Decision("checkout", "v9", "inherited", revision="0badcafe")], revision="0badcafe")

    def test_what_was_decided_before_stays(self) -> None:
        context = compiled(release(Rule("all", None, use="v2"))).decide(RequestFacts(), self.INHERITED)

        assert only(context) == ("v9", "inherited", None)
        assert context.revision == "0badcafe"
        assert context.is_gray()

    def test_the_other_releases_are_decided(self) -> None:
        rules = compiled(
            release(name="search"),
            release(Rule("all", None, use="v2")),
            release(Rule("all", None, use="v3"), name="last"),
        )
        context = rules.decide(RequestFacts(), self.INHERITED)

        assert context.wire == "gray.search=v1,gray.checkout=v9,gray.last=v3,gray-rev=0badcafe"

    def test_a_single_release_is_decided_beside_unknown_ones(self) -> None:
        rules = compiled(release(Rule("all", None, use="v2"), name="search"))
        context = rules.decide(RequestFacts(), self.INHERITED)

        assert context.wire == "gray.search=v2,gray.checkout=v9,gray-rev=0badcafe"
        assert context.decisions["checkout"].stable is None

    def test_a_disabled_release_stays_as_inherited(self) -> None:
        assert compiled(release(enabled=False)).decide(RequestFacts(), self.INHERITED).version() == "v9"

    def test_inherited_revisions_win_where_there_is_one(self) -> None:
        without = GrayContext([Decision("checkout", "v9", "inherited")])

        assert compiled(release()).decide(RequestFacts(), without).revision == "9f3c2a11"

    def test_an_undecided_context_is_as_none(self) -> None:
        rules = compiled(release(Rule("all", None, use="v2")))

        assert rules.decide(RequestFacts(), UNDECIDED) is rules.decide(RequestFacts())

    def test_contexts_that_look_alike_on_the_wire_keep_their_own_reasons(self) -> None:
        rules = compiled(release())
        override = GrayContext([Decision("checkout", "v9", "override")], revision="0badcafe")

        for _ in range(2):
            assert only(rules.decide(RequestFacts(), self.INHERITED))[1] == "inherited"
            assert only(rules.decide(RequestFacts(), override))[1] == "override"

    def test_equal_inherited_contexts_share_one_result(self) -> None:
        rules = compiled(release())

        assert rules.decide(RequestFacts(), self.INHERITED) is rules.decide(RequestFacts(), self.INHERITED)

    def test_very_many_inherited_contexts_do_not_grow_without_bound(self) -> None:
        rules = compiled(release())
        for number in range(2_000):
            inherited = GrayContext([Decision("checkout", f"v{number}", "inherited")])
            assert rules.decide(RequestFacts(), inherited).version() == f"v{number}"

    def test_nor_does_what_they_are_completed_to(self) -> None:
        split = [release(Rule("half", split=HALF), name=f"r{number}") for number in range(7)]
        rules = compiled(release(), *split)
        for number in range(200):
            inherited = GrayContext([Decision("checkout", f"v{number}", "inherited")])
            for user in range(100):
                rules.decide(RequestFacts(user=str(user)), inherited)
        alive = [each for each in gc.get_objects() if type(each) is GrayContext]  # by type: lazy objects lie of it
        assert len(alive) < 6_000


class Broken(RequestFacts):
    """Facts of which one cannot be read."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException, **facts: str) -> None:
        self.error = error
        super().__init__(**facts)  # type: ignore[arg-type]

    @property
    def region(self) -> str | None:  # type: ignore[override]
        raise self.error

    @region.setter
    def region(self, value: str | None) -> None:
        pass


def _unwanted() -> str:
    raise AssertionError("no key was needed")


def _raising(error: Exception) -> Callable[[], str]:
    def entropy() -> str:
        raise error

    return entropy


class TestFailures:
    def test_a_rule_that_fails_does_not_match_and_is_told(self) -> None:
        told: list[tuple[str, str, str]] = []
        rules = compiled(
            release(
                Rule("region", FactTest(Fact("region"), "exact", "eu"), use="v2"),
                Rule("bob", FactTest(Fact("user"), "exact", "bob"), use="v3"),
            ),
            on_error=lambda name, rule, error: told.append((name, rule, str(error))),
        )

        assert only(rules.decide(Broken(RuntimeError("no region"), user="bob"))) == ("v3", "match", "bob")
        assert only(rules.decide(Broken(RuntimeError("no region")))) == ("v1", "default", None)
        assert told == [("checkout", "region", "no region")] * 2

    def test_a_rule_before_the_failing_one_still_splits(self) -> None:
        rules = compiled(
            release(
                Rule("region", FactTest(Fact("region"), "exact", "eu"), use="v2"),
                Rule("canary", None, split=HALF),
                sticky=(USER, COOKIE),
            )
        )
        for number in range(20):
            user = f"user-{number}"
            drawn = bucket("checkout", user)
            assert rules.decide(Broken(RuntimeError(), user=user)).version() == ("v2" if drawn < 5_000 else "v1")
        facts = Broken(RuntimeError())
        rules.decide(facts)
        assert facts.issued == "fresh-random-key"

    def test_releases_that_fail_share_the_issued_key_too(self) -> None:
        keys = map("random-key-{:04}".format, itertools.count())
        rules = (Rule("region", FactTest(Fact("region"), "exact", "eu"), use="v2"), Rule("canary", None, split=HALF))
        both = compiled(
            release(*rules, sticky=(COOKIE,)),
            release(*rules, name="search", sticky=(COOKIE,)),
            entropy=lambda: next(keys),
        )
        facts = Broken(RuntimeError())
        both.decide(facts)

        assert facts.issued == "random-key-0000"
        assert next(keys) == "random-key-0001"

    def test_a_split_that_fails_is_stable_with_reason_error(self) -> None:
        told: list[str] = []
        rules = compiled(
            release(Rule("canary", None, split=HALF)),
            entropy=_raising(OSError("no entropy")),
            on_error=lambda name, rule, error: told.append(f"{name} {rule} {error}"),
        )

        assert only(rules.decide(RequestFacts())) == ("v1", "error", None)
        assert told == ["checkout canary no entropy"]

    def test_one_failing_release_leaves_the_others_alone(self) -> None:
        rules = compiled(
            release(Rule("canary", None, split=HALF)),
            release(Rule("all", None, use="v2"), name="search"),
            entropy=_raising(OSError()),
        )
        context = rules.decide(RequestFacts())

        assert [(d.version, d.reason) for d in context.decisions.values()] == [("v1", "error"), ("v2", "match")]

    @pytest.mark.parametrize("source", ["uid % 10 == 0", "size(user) > 3", "nonsense(", "unknown == 1"])
    def test_a_failing_expression_does_not_match_and_is_told(self, source: str) -> None:
        told: list[tuple[str, str]] = []
        rules = compiled(
            release(Rule("cel", Expression(source), use="v2")),
            on_error=lambda name, rule, error: told.append((name, rule)),
        )

        assert only(rules.decide(RequestFacts())) == ("v1", "default", None)
        assert told == [("checkout", "cel")]

    def test_a_test_that_check_would_refuse_does_not_match_and_is_told(self) -> None:
        told: list[str] = []
        bad = [
            FactTest(Fact("user"), "regex", "("),
            FactTest(Fact("user"), "semver", "newest"),
            FactTest(Fact("user"), "cidr", ("10.0.0.0/99",)),
        ]
        rules = compiled(
            release(*(Rule(check.operator, check, use="v2") for check in bad)),
            on_error=lambda name, rule, error: told.append(rule),
        )

        assert only(rules.decide(RequestFacts(user="a"))) == ("v1", "default", None)
        assert told == ["regex", "semver", "cidr"]

    def test_a_failing_listener_changes_nothing(self) -> None:
        def listener(*_: object) -> None:
            raise ValueError

        rules = compiled(release(Rule("cel", Expression("uid == 1"), use="v2")), on_error=listener)

        assert only(rules.decide(RequestFacts())) == ("v1", "default", None)

    def test_an_interrupt_goes_through(self) -> None:
        rules = compiled(release(Rule("region", FactTest(Fact("region"), "exact", "eu"), use="v2")))

        with pytest.raises(KeyboardInterrupt):
            rules.decide(Broken(KeyboardInterrupt()))


class TestReads:
    def test_rules_and_sticky_keys_name_the_facts_they_read(self) -> None:
        rules = compiled(
            release(
                Rule("a", AllOf((header("x-a", "1"), FactTest(Fact("cookie", "c"), "exists", True))), use="v2"),
                Rule(
                    "b",
                    AnyOf((FactTest(Fact("query", "q"), "exact", "1"), Not(FactTest(Fact("ip"), "exists", True)))),
                    use="v2",
                ),
                Rule(
                    "c", Expression("uid == 1 && request.headers['X-B'] == 'b' && request.useragent == 'u'"), use="v2"
                ),
                Rule("d", Expression("user == request.path"), use="v2"),
                sticky=(StickyKey(Fact("header", "x-key")), COOKIE),
            )
        )
        reads = rules.reads

        assert reads.headers == {"x-a", "x-b", "x-key", "user-agent"}
        assert reads.cookies == {"c", "gray_id"}
        assert reads.query == {"q"}
        assert reads.facts == {"ip", "user", "path"}
        assert (reads.ip, reads.user, reads.path) == (True, True, True)
        assert (reads.method, reads.host, reads.region, reads.device) == (False, False, False, False)
        assert (rules.reads.all_headers, rules.reads.all_cookies, rules.reads.all_query) == (False, False, False)

    @pytest.mark.parametrize(
        ("source", "needs"),
        [
            ("size(request.headers) > 1", (True, False, False)),
            ("cookies.exists(k, k == 'a')", (False, True, False)),
            ("query[user] == 'a'", (False, False, True)),
        ],
    )
    def test_whole_maps_are_needed_where_an_expression_uses_them_so(self, source: str, needs: tuple[bool, ...]) -> None:
        rules = compiled(release(Rule("r", Expression(source), use="v2")))

        assert (rules.reads.all_headers, rules.reads.all_cookies, rules.reads.all_query) == needs

    def test_disabled_releases_and_those_without_rules_read_nothing(self) -> None:
        rules = compiled(
            release(Rule("a", header("x", "1"), use="v2"), enabled=False), release(name="b", sticky=(COOKIE,))
        )

        assert not rules.reads.headers
        assert not rules.reads.cookies


class Watched(RequestFacts):
    """Facts that tell how often each is read."""

    __slots__ = ("seen",)

    def __getattribute__(self, name: str) -> object:
        if name in RequestFacts.__slots__ and name != "issued":
            object.__getattribute__(self, "seen").append(name)
        return object.__getattribute__(self, name)

    def watched(self) -> list[str]:
        object.__setattr__(self, "seen", [])
        return object.__getattribute__(self, "seen")  # type: ignore[no-any-return]


@settings(max_examples=100)
@given(documents(max_releases=1), requests())
def test_each_fact_is_read_once_at_most_and_only_those_announced(document: RuleDocument, facts: RequestFacts) -> None:
    if any("matches" in repr(rule) or "Expression" in repr(rule) for rule in document.releases[0].rules):
        return  # the library's own reads are counted in its tests
    rules = compile_rules(document, clock=lambda: NOW, entropy=lambda: "fresh-random-key")
    watched = Watched(**{name: getattr(facts, name) for name in RequestFacts.__slots__ if name != "issued"})
    seen = watched.watched()
    rules.decide(watched)

    assert len(seen) == len(set(seen))
    maps = {"headers": rules.reads.headers, "cookies": rules.reads.cookies, "query": rules.reads.query}
    assert set(seen) <= rules.reads.facts | {name for name, read in maps.items() if read}


@settings(max_examples=100)
@given(documents(), st.lists(requests(), min_size=2, max_size=4))
def test_deciding_twice_gives_the_same_object(document: RuleDocument, several: list[RequestFacts]) -> None:
    rules = compile_rules(document, clock=lambda: NOW, entropy=lambda: "fresh-random-key")
    first = [rules.decide(facts) for facts in several]

    assert [rules.decide(facts) for facts in several] == first
