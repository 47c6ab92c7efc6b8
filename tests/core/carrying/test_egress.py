from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.carrying.egress import EgressPolicy

SUFFIXES = (".local", ".internal", ".svc", ".cluster.local", ".consul")
POLICY = EgressPolicy(["orders", "Payments.example.com", "team/search", "12345"], SUFFIXES)

ALLOWED = [
    "orders", "ORDERS", "orders.", "payments.example.com", "PAYMENTS.Example.com.", "team/search", "12345",
    "localhost", "LOCALHOST", "redis", "my_service", "testserver",
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "::1", "[::1]", "fd00::1", "[FD00::1]",
    "[::ffff:10.0.0.1]",
    "a.internal", "a.b.internal", "A.Internal.", "internal", "orders.default.svc", "orders.default.svc.cluster.local",
    "orders.service.consul", "printer.local", "bücher.internal", "xn--bcher-kva.internal", "bücher",
]  # fmt: skip
REFUSED = [
    "", ".", "..", "example.com", "api.stripe.com", "search.example.com", "sub.payments.example.com",
    "evilinternal.com", "a.notinternal", "internal.example.com", "a.internal.example.com", ".internal", "a..internal",
    "svc.example.com", "example.com.", "example.com..",
    "8.8.8.8", "100.64.0.1", "0.0.0.0", "169.254.169.254", "[fe80::1]", "fe80::1%eth0", "[fd00::1%25eth0]",
    "[::]", "::",
    "[2001:db8::1]", "[::ffff:8.8.8.8]", "[10.0.0.1]", "[localhost]", "[::1", "::1]", "[]", "[::1]:80",
    "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "１２７.0.0.1",
    "10.0.0.256", "1.2.3.4.5", "0x",
    "orders.1",
    "10.0.0.1.nip.io", "127-0-0-1.sslip.io", "localhost.evil.com", "localhost.localdomain.example",
    "orders:8080", "localhost:80", "orders@evil.com", "evil.com@orders", "user:pass@localhost", "orders/",
    "a.internal/x",
    "a.internal#", "a.internal?x", "a.internal\\x", "a.internal%00", "a internal", " orders", "orders\n", "orders\x00",
    "evil.com\n.internal", "evil.com/.internal", "evil.com#.internal", "evil.com%2f.internal", "evil.com:80.internal",
    "*.internal", "\ud800", "a" * 64, "a." * 130 + "internal", "x" * 100_000, "２１３０７０６４３３",
    "bücher.example.com",
]  # fmt: skip


class TestPolicy:
    @pytest.mark.parametrize("host", ALLOWED)
    def test_hosts_of_our_own_are_told(self, host: str) -> None:
        assert POLICY.allows(host)

    @pytest.mark.parametrize("host", REFUSED, ids=lambda host: ascii(host)[:40])
    def test_strangers_and_whatever_is_in_doubt_are_not(self, host: str) -> None:
        assert not POLICY.allows(host)

    def test_an_answer_stays_the_same_when_asked_again(self) -> None:
        policy = EgressPolicy(["orders"], [".internal"])
        for _ in range(2):
            assert policy.allows("orders")
            assert policy.allows("a.internal")
            assert not policy.allows("example.com")

    def test_without_suffixes_only_services_and_near_hosts_are_told(self) -> None:
        policy = EgressPolicy(["orders.shop.example"], [])
        assert policy.allows("orders.shop.example")
        assert policy.allows("localhost")
        assert not policy.allows("a.internal")

    @pytest.mark.parametrize(
        "suffix", ["example.com", ".example.com", "*.example.com", ".EXAMPLE.com.", ".Example.Com"]
    )
    def test_a_suffix_allows_the_name_itself_and_all_below(self, suffix: str) -> None:
        policy = EgressPolicy([], [suffix])
        assert policy.allows("example.com")
        assert policy.allows("a.b.example.com")
        assert not policy.allows("badexample.com")
        assert not policy.allows("example.com.evil.org")

    def test_a_suffix_may_be_international(self) -> None:
        assert EgressPolicy([], [".bücher.example"]).allows("a.xn--bcher-kva.example")

    @pytest.mark.parametrize("suffix", ["", ".", "*", "*.", "a b", "a..b", "http://x", "a/b", "example.com:80"])
    def test_a_suffix_that_would_allow_every_host_or_none_is_refused(self, suffix: str) -> None:
        with pytest.raises(ValueError, match="is no host name suffix"):
            EgressPolicy([], [suffix])

    def test_odd_service_names_do_no_harm(self) -> None:
        policy = EgressPolicy(["", "x" * 300, "\ud800", "a..b"], [])
        assert not policy.allows("")
        assert policy.allows("a..b")

    def test_it_does_not_remember_without_bound(self) -> None:
        policy = EgressPolicy([], [])
        for number in range(5_000):
            policy.allows(f"{number}.example.com")
        assert len(policy._allowed) < 4_000

    @given(st.text())
    def test_any_host_can_be_asked_about(self, host: str) -> None:
        assert POLICY.allows(host) in (True, False)

    @given(
        st.text(),
        st.sampled_from(["@", ":", "/", "?", "#", "\\", "%", " ", "\n", "\t"]),
        st.sampled_from(["", ".internal"]),
    )
    def test_a_delimiter_anywhere_makes_a_stranger(self, text: str, delimiter: str, end: str) -> None:
        host = f"evil.com{delimiter}{text}{end}"
        assert not POLICY.allows(host)
