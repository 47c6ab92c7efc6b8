"""Keys of the bucket, step by step."""

from __future__ import annotations

from graymw.core.facts import RequestFacts
from graymw.core.model import Fact, StickyKey
from graymw.core.sticking import GRAY_ID, issues, present_key

USER, COOKIE = StickyKey(Fact("user")), StickyKey(GRAY_ID, issue=True)


def test_the_first_fact_with_a_text_is_the_key() -> None:
    facts = RequestFacts(user="", ip="10.0.0.1", cookies={"gray_id": "visitor-0001"})

    assert present_key((USER, COOKIE), facts) == (GRAY_ID, "visitor-0001")
    assert present_key((StickyKey(Fact("ip")), COOKIE), facts) == (Fact("ip"), "10.0.0.1")
    assert present_key((USER,), facts) is None


def test_only_our_own_cookie_has_to_look_like_ours() -> None:
    facts = RequestFacts(cookies={"gray_id": "no!", "other": "no!"})

    assert present_key((COOKIE, StickyKey(Fact("cookie", "other"))), facts) == (Fact("cookie", "other"), "no!")


def test_a_release_issues_where_any_of_its_keys_does() -> None:
    assert issues((USER, COOKIE))
    assert not issues((USER, StickyKey(GRAY_ID)))
