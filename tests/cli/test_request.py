from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.cli.outcome import WrongUseError
from graymw.cli.request import DescribedRequest, RequestOptions, clock_at, inherited
from graymw.core.model import Release, RuleDocument
from graymw.settings.schema import Settings


def described(settings: Settings | None = None, **options: object) -> DescribedRequest:
    return DescribedRequest(RequestOptions(**options), settings or Settings())  # type: ignore[arg-type]


class TestHeaders:
    def test_names_do_not_depend_on_case_and_values_are_trimmed(self) -> None:
        assert described(headers=("X-User-Id:  40 ",)).headers == {"x-user-id": "40"}

    def test_repeated_ones_are_joined(self) -> None:
        assert described(headers=("a: 1", "A: 2")).headers == {"a": "1,2"}

    def test_a_value_may_hold_colons_and_be_empty(self) -> None:
        assert described(headers=("x: a:b", "y:")).headers == {"x": "a:b", "y": ""}

    @pytest.mark.parametrize("text", ["x-user-id 40", "", ": 40", "x y: 40", "x-üser: 40"])
    def test_bad_syntax_is_refused_with_the_right_form(self, text: str) -> None:
        with pytest.raises(WrongUseError, match=r"write it like --header 'x-user-id: 40'"):
            described(headers=(text,))


class TestCookiesAndQuery:
    def test_cookies_come_from_the_header_and_from_options(self) -> None:
        facts = described(headers=("cookie: a=1",), cookies=("b=2", "a=3"))
        assert facts.cookies == {"a": "1", "b": "2"}

    def test_query_comes_from_the_path_and_from_options(self) -> None:
        facts = described(path="/cart?a=1&b=x%20y", queries=("c=ü & co", "a=2"))
        assert facts.query == {"a": "1", "b": "x y", "c": "ü & co"}

    @pytest.mark.parametrize("text", ["uid", "", "=40"])
    def test_bad_syntax_is_refused(self, text: str) -> None:
        with pytest.raises(WrongUseError, match="--cookie uid=40"):
            described(cookies=(text,))
        with pytest.raises(WrongUseError, match="--query uid=40"):
            described(queries=(text,))


class TestAddress:
    def test_a_url_gives_host_path_and_query(self) -> None:
        facts = described(path="https://user@Shop.Example:8443/a%20b?uid=7#x")
        assert (facts.host, facts.path, facts.query, facts.user) == ("shop.example", "/a b", {"uid": "7"}, "7")

    def test_the_host_can_be_given_beside_it(self) -> None:
        assert described(path="/x", host="Api.Example:80").host == "api.example"
        assert described(headers=("host: a.example",)).host == "a.example"

    def test_a_path_is_as_decoded_as_an_application_sees_it(self) -> None:
        assert described(path="/a%2Fb//c").path == "/a/b//c"
        assert described(path="cart").path == "/cart"

    def test_silence_means_a_get_of_the_root(self) -> None:
        facts = described()
        assert (facts.method, facts.path, facts.host, facts.query, facts.cookies) == ("GET", "/", "", {}, {})
        assert (facts.user, facts.region, facts.device, facts.ip) == (None, None, None, None)

    def test_methods_are_in_capitals(self) -> None:
        assert described(method="post").method == "POST"

    def test_what_is_no_url_is_refused(self) -> None:
        with pytest.raises(WrongUseError, match="is no path and no URL"):
            described(path="http://[::1/x")

    @given(path=st.text())
    def test_any_text_is_a_path_or_refused(self, path: str) -> None:
        try:
            facts = described(path=path)
        except WrongUseError:
            return
        assert facts.path.startswith("/")


class TestIdentity:
    def test_it_is_derived_as_the_settings_say(self) -> None:
        settings = Settings.from_mapping({"user": "cookie:sid,header:x-id", "region": "query:r"}, environ={})
        facts = described(settings, headers=("x-id: 7",), path="/?r=eu")
        assert (facts.user, facts.region) == ("7", "eu")

    def test_the_device_is_derived_from_the_user_agent(self) -> None:
        agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148"
        assert described(headers=(f"user-agent: {agent}",)).device == "mobile"

    def test_the_address_is_the_one_that_proxies_name(self) -> None:
        assert described(headers=("x-forwarded-for: 192.0.2.7, 10.0.0.1",)).ip == "192.0.2.7"

    def test_what_is_given_wins(self) -> None:
        facts = described(headers=("x-user-id: 1",), user="2", region="uk", device="bot", ip="192.0.2.1")
        assert (facts.user, facts.region, facts.device, facts.ip) == ("2", "uk", "bot", "192.0.2.1")


class TestTime:
    def test_a_clock_stands_at_the_time_given(self) -> None:
        assert clock_at("2026-10-01T00:00:00Z")() == 1_790_812_800.0
        assert clock_at("2026-10-01T02:00:00+02:00")() == 1_790_812_800.0

    def test_without_one_it_runs(self) -> None:
        before = time.time()
        assert before <= clock_at(None)() <= time.time()

    @pytest.mark.parametrize("text", ["tomorrow", "2026-10-01", "2026-13-01T00:00:00Z", ""])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(WrongUseError, match="--at"):
            clock_at(text)


class TestInheriting:
    DOCUMENT = RuleDocument((Release("checkout", "v1", services=("orders",)), Release("search", "v1")))

    def test_decisions_of_an_upstream_are_taken_over(self) -> None:
        context, faults = inherited(["a=b,gray.checkout=v2,gray-rev=9f3c2a11"], self.DOCUMENT, "orders")
        assert faults == ()
        assert (context.version("checkout"), context.is_gray("checkout"), context.revision) == ("v2", True, "9f3c2a11")
        assert context.primary == "checkout"

    def test_what_cannot_be_used_is_named(self) -> None:
        context, faults = inherited(["gray.checkout=v 2,gray.search=v1"], self.DOCUMENT, "")
        assert list(context.decisions) == ["search"]
        assert faults == ("bad-version",)

    def test_without_ours_nothing_is_decided(self) -> None:
        assert not inherited(["a=b"], self.DOCUMENT, "")[0]
