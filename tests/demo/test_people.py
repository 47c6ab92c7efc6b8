from __future__ import annotations

from graymw import bucket
from graymw.demo import people


def test_the_cast_holds_somebody_for_every_fate() -> None:
    split = [bucket("checkout", user.uid) for user in people.cast() if not user.says and user.uid.isdigit()]
    assert any(place < people.SHARE_BEFORE for place in split)
    assert any(people.SHARE_BEFORE <= place < people.SHARE_AFTER for place in split)
    assert any(place >= people.SHARE_AFTER for place in split)
    assert len({user.uid for user in people.cast()}) == len(people.cast())


def test_the_crowd_is_as_large_as_asked_and_touched_by_no_other_rule() -> None:
    crowd = people.crowd(50)
    assert len({user.uid for user in crowd}) == 50
    assert not any(int(user.uid) % 10 == 0 or user.region or user.device or user.tester for user in crowd)
    assert not {user.uid for user in crowd} & {user.uid for user in people.cast()}


def test_the_probe_is_moved_by_the_raise_and_only_by_it() -> None:
    place = bucket("checkout", people.joins_with_the_raise().uid)
    assert people.SHARE_BEFORE <= place < people.SHARE_AFTER


def test_what_is_sent_and_what_rules_may_read_are_the_same() -> None:
    user = people.User("7", tester=True, region="eu", device="mobile")
    assert user.headers["x-user-id"] == user.facts.user == "7"
    assert user.headers["x-region"] == user.facts.region == "eu"
    assert user.facts.headers["x-gray-version"] == "true"
    assert people.User("8").facts.device == "desktop"


def test_requests_of_a_round_are_counted() -> None:
    assert people.total_requests([people.User("1", requests=3), people.User("2")]) == 4
