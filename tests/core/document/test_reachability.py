"""Rules that nothing ever reaches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core import document, model
from graymw.core.document import reachability
from graymw.core.model import AllOf, AnyOf, Condition, Not


def faults(rules: str) -> list[tuple[str, str]]:
    problems = document.examine(f"schema: 1\nreleases:\n  a: {{stable: v1, rules: [{rules}]}}").problems
    return [(problem.path.removeprefix("releases.a."), problem.message) for problem in problems]


@pytest.mark.parametrize("first", ["{use: v2}", "{split: {v2: 1%}}", "{name: all, use: 1.0}"])
def test_nothing_comes_behind_a_rule_for_everyone(first: str) -> None:
    told = faults(f"{first}, {{match: {{user: a}}, use: v2}}, {{use: v3}}")
    assert [path for path, message in told if "never reached" in message] == ["rules[1]", "rules[2]"]


def test_a_misspelt_condition_is_not_taken_for_none() -> None:
    assert [path for path, _ in faults("{mach: {user: a}, use: v2}, {use: v3}")] == ["rules[0].mach"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("match: {user: a}", "match: {user: a}"),
        ("match: {user: [a, b]}", "match: {user: b}"),
        ("match: {user: [a, b, c]}", "match: {user: [c, a]}"),
        ("match: {user: a}", "match: {user: a, region: eu}"),
        ("match: {region: eu, user: [a, b]}", "match: {user: b, device: bot, region: eu}"),
        ("match: {header: {X-A: '1'}}", "match: {header: {x-a: 1, x-b: 2}}"),
        ("match: {user: {exists: true}}", "match: {user: a}"),
        ("match: {user: {prefix: a}}", "match: {region: eu, user: {prefix: a}}"),
        ("when: uid == 1", "when: uid == 1"),
        ("when: uid == 1", "match: {user: a}\n, when: uid == 1"),
        ("match: {any: [{user: a}, {region: eu}]}", "match: {region: eu}"),
        ("match: {any: [{user: a}, {region: eu}]}", "match: {any: [{region: eu, device: bot}, {user: a}]}"),
        ("match: {user: [a, b]}", "match: {any: [{user: a}, {user: b, region: eu}]}"),
        ("match: {not: {user: a}}", "match: {region: eu, not: {user: a}}"),
        ("match: {after: 2026-01-01T00:00:00Z}", "match: {after: 2026-01-01T00:00:00Z, user: a}"),
    ],
)
def test_a_rule_that_an_earlier_one_covers_is_never_reached(earlier: str, later: str) -> None:
    assert faults(f"{{name: first, {earlier}, use: v2}}, {{{later}, use: v3}}") == [
        ("rules[1]", "never reached: 'first' before it holds whenever this does")
    ]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("match: {user: a}", "match: {user: b}"),
        ("match: {user: a}", "match: {user: [a, b]}"),
        ("match: {user: a, region: eu}", "match: {user: a}"),
        ("match: {header: {x-a: 1}}", "match: {cookie: {x-a: 1}}"),
        ("match: {user: {exists: false}}", "match: {user: a}"),
        ("match: {user: {prefix: a}}", "match: {user: {prefix: b}}"),
        ("when: uid == 1", "when: uid == 2"),
        ("match: {any: [{user: a}, {region: eu}]}", "match: {device: bot}"),
        ("match: {user: a}", "match: {any: [{user: a}, {region: eu}]}"),
        ("match: {not: {user: a}}", "match: {user: a}"),
        ("match: {user: {in: [a]}}", "match: {region: a}"),
    ],
)
def test_a_rule_that_something_is_left_for_is_fine(earlier: str, later: str) -> None:
    assert faults(f"{{{earlier}, use: v2}}, {{{later}, use: v3}}") == []


def test_tests_that_exclude_each_other_never_hold() -> None:
    assert faults("{match: {user: [a, b], all: [{user: [b, c]}, {user: a}]}, use: v2}") == [
        ("rules[0]", "never holds: two of its tests exclude each other")
    ]


_ATOMS = st.tuples(st.sampled_from("xyz"), st.lists(st.sampled_from("123"), min_size=1, max_size=3, unique=True))


def _match(atom: tuple[str, list[str]]) -> dict[str, object]:
    return {"header": {atom[0]: atom[1]}}


_MATCHES = st.recursive(
    _ATOMS.map(_match),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=5,
)
_WORLDS = [{"x": x, "y": y, "z": z} for x in "1239" for y in "1239" for z in "1239"]


def _holds(condition: Condition | None, world: dict[str, str]) -> bool:
    match condition:
        case model.Test(fact, _, str(operand)):
            return world[fact.name] == operand
        case model.Test(fact, _, tuple(operand)):
            return world[fact.name] in operand
        case AllOf(parts):
            return all(_holds(part, world) for part in parts)
        case AnyOf(parts):
            return any(_holds(part, world) for part in parts)
        case Not(part):
            return not _holds(part, world)
    raise AssertionError(condition)


@given(st.lists(_MATCHES, min_size=2, max_size=5))
def test_what_is_called_unreachable_is_so_in_every_world(matches: list[dict[str, object]]) -> None:
    rules = [{"match": match, "use": "v2"} for match in matches]
    problems = document.examine({"schema": 1, "releases": {"a": {"stable": "v1", "rules": rules}}}).problems
    conditions = [
        document.parse(
            {"schema": 1, "releases": {"a": {"stable": "v1", "rules": [{"match": {"not": match}, "use": "v2"}]}}}
        )
        for match in matches
    ]
    parsed = [made.releases[0].rules[0].condition for made in conditions]
    for problem in problems:
        index = int(problem.path.partition("[")[2].partition("]")[0])
        # Each was parsed as its opposite, which no lint refuses.
        assert all(
            _holds(parsed[index], world) or any(not _holds(earlier, world) for earlier in parsed[:index])
            for world in _WORLDS
        )


def test_comparing_costs_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = 0
    spend = reachability._Lint._spend

    def counted(self: reachability._Lint, steps: int) -> None:
        nonlocal spent
        spent += steps
        spend(self, steps)

    monkeypatch.setattr(reachability._Lint, "_spend", counted)
    branches = [{"user": f"u{index}", "region": "x"} for index in range(60)]
    rules = [{"match": {"any": branches, "device": f"d{index}"}, "use": "v2"} for index in range(100)]
    examined = document.examine({"schema": 1, "releases": {"a": {"stable": "v1", "rules": rules}}})
    assert examined.document is not None
    assert 1 <= spent <= reachability._MAX_STEPS + len(branches)
