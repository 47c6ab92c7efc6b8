from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.carrying.peers import (
    client_address,
    forwarded_addresses,
    is_inside,
    is_loopback_or_private,
    is_private,
)

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "169.254.0.1", "::1", "fc00::1", "fdff::1", "fe80::1", "febf::1", "fe80::1%eth0", "::ffff:10.0.0.1",
    "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "FD00::A", "testclient",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0",
    "192.167.1.1",
    "192.169.0.1", "169.253.1.1", "169.255.0.1", "100.64.0.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "::2",
    "fec0::1", "fbff::1", "ff02::1", "::ffff:8.8.8.8", "::10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::",
]  # fmt: skip
NO_ADDRESS = [
    "", " ", "localhost", "unknown", "_hidden", "10.0.0", "10.0.0.1.", "010.0.0.1", "0x7f.0.0.1", "2130706433",
    "10.0.0.256",
    "10.0.0.1 ", "10.0.0.1:80", "[::1]", "１０.0.0.1", "fe80::1%", "x" * 10_000, "\x00",
]  # fmt: skip

addresses = st.ip_addresses().map(str)
NETWORKS = [
    ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128",
                 "fc00::/7", "fe80::/10")
]  # fmt: skip


class TestPrivate:
    @pytest.mark.parametrize("address", PRIVATE)
    def test_loopback_private_and_link_local_are(self, address: str) -> None:
        assert is_private(address)

    @pytest.mark.parametrize("address", PUBLIC)
    def test_all_others_are_not(self, address: str) -> None:
        assert not is_private(address)

    @pytest.mark.parametrize("text", NO_ADDRESS)
    def test_what_is_no_address_is_not(self, text: str) -> None:
        assert not is_private(text)

    def test_a_unix_socket_is(self) -> None:
        assert is_private(None)

    @pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1"])
    def test_link_local_can_be_told_apart(self, address: str) -> None:
        assert is_private(address)
        assert not is_loopback_or_private(address)

    @given(st.ip_addresses())
    def test_the_networks_are_those_of_the_contract(self, address) -> None:
        inner = getattr(address, "ipv4_mapped", None) or address
        assert is_private(str(address)) == any(inner in network for network in NETWORKS)

    @given(st.sampled_from(NETWORKS).flatmap(lambda network: st.ip_addresses(network=network)))
    def test_every_address_of_those_networks_is(self, address) -> None:
        assert is_private(str(address))
        if address.version == 4:
            assert is_private(f"::ffff:{address}")

    @given(st.text())
    def test_any_text_can_be_asked_about(self, text: str) -> None:
        assert is_private(text) in (True, False)


class TestForwardedAddresses:
    @pytest.mark.parametrize(
        ("forwarded", "addresses"),
        [
            ([], []),
            ([""], []),
            (["for=192.0.2.60;proto=http;by=203.0.113.43"], ["192.0.2.60"]),
            (["for=192.0.2.43, for=198.51.100.17"], ["192.0.2.43", "198.51.100.17"]),
            (["for=192.0.2.43", "for=198.51.100.17"], ["192.0.2.43", "198.51.100.17"]),
            (['For="[2001:db8:cafe::17]:4711"'], ["2001:db8:cafe::17"]),
            (['for="192.0.2.43:47011"'], ["192.0.2.43"]),
            (['for="192.0.2.43:_port"'], ["192.0.2.43"]),
            (['proto=https; for = "10.0.0.1" ;host="a,b;for=1.1.1.1"'], ["10.0.0.1"]),
            (["for=::ffff:192.0.2.1"], ["192.0.2.1"]),
            (["for=unknown"], ["unknown"]),
            (["for=_hidden, for=_SEVKISEK"], ["unknown", "unknown"]),
            (["for=testclient"], ["unknown"]),
            (['for="testclient:80"'], ["unknown"]),
            (["proto=https"], ["unknown"]),
            (["for=10.0.0.1;for=10.0.0.2"], ["unknown"]),
            (["for="], ["unknown"]),
            (['for="'], ["unknown"]),
            (['for="10.0.0.1\\""'], ["unknown"]),
            (["for=[10.0.0.1]"], ["unknown"]),
            (["for=[::1]80"], ["unknown"]),
            (["for=[::1]:"], ["unknown"]),
            (["for=10.0.0.1:http"], ["unknown"]),
            (["nonsense"], ["unknown"]),
            (["for=10.0.0.1," * 2_000], ["unknown"]),
        ],
    )
    def test_rfc_7239(self, forwarded: list[str], addresses: list[str]) -> None:
        assert forwarded_addresses(forwarded, []) == addresses

    @pytest.mark.parametrize(
        ("header", "addresses"),
        [
            ([], []),
            (["", " , "], []),
            (["203.0.113.195, 70.41.3.18,150.172.238.178"], ["203.0.113.195", "70.41.3.18", "150.172.238.178"]),
            (["203.0.113.195", "70.41.3.18"], ["203.0.113.195", "70.41.3.18"]),
            (["203.0.113.195:41237"], ["203.0.113.195"]),
            (["2001:db8::1, [2001:db8::2]:80, [2001:db8::3]"], ["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
            (["fe80::1%eth0"], ["fe80::1"]),
            (["unknown, 10.0.0.1"], ["unknown", "10.0.0.1"]),
            (["localhost"], ["unknown"]),
            (["testclient"], ["unknown"]),
        ],
    )
    def test_x_forwarded_for(self, header: list[str], addresses: list[str]) -> None:
        assert forwarded_addresses([], header) == addresses

    def test_both_headers_count(self) -> None:
        assert forwarded_addresses(["for=10.0.0.1"], ["10.0.0.2"]) == ["10.0.0.1", "10.0.0.2"]

    @given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
    def test_any_headers_can_be_read(self, forwarded: list[str], x_forwarded_for: list[str]) -> None:
        for node in forwarded_addresses(forwarded, x_forwarded_for):
            assert node == "unknown" or str(ip_address(node)) == node

    @given(st.lists(addresses, max_size=8))
    def test_addresses_come_back_in_their_order(self, nodes: list[str]) -> None:
        quoted = ", ".join(f'for="[{node}]:80"' if ":" in node else f"for={node}" for node in nodes)
        plain = [str(getattr(ip_address(node), "ipv4_mapped", None) or node) for node in nodes]
        assert forwarded_addresses([quoted], []) == plain
        assert forwarded_addresses([], [", ".join(nodes)]) == plain


class TestInside:
    @pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.2.3", "fe80::1%eth0", "testclient", None, ""])
    def test_a_private_peer_without_proxies_is(self, peer: str | None) -> None:
        assert is_inside(peer, [], [])

    @pytest.mark.parametrize("peer", ["8.8.8.8", "2001:db8::1", "@", "localhost"])
    def test_any_other_peer_is_not_whatever_it_says(self, peer: str) -> None:
        assert not is_inside(peer, [], [])
        assert not is_inside(peer, ["for=10.0.0.1"], ["10.0.0.1"])

    def test_private_proxies_and_clients_are(self) -> None:
        assert is_inside("127.0.0.1", ['for=10.0.0.1, for="[fd00::1]"'], ["192.168.1.1, 10.0.0.2"])

    @pytest.mark.parametrize(
        ("forwarded", "x_forwarded_for"),
        [
            (["for=8.8.8.8"], []),
            ([], ["8.8.8.8"]),
            (["for=10.0.0.1"], ["8.8.8.8"]),
            (["for=8.8.8.8"], ["10.0.0.1"]),
            ([], ["10.0.0.1, 8.8.8.8"]),
            ([], ["8.8.8.8, 10.0.0.1"]),
            ([], ["10.0.0.1", "8.8.8.8"]),
            (["for=unknown"], []),
            (["for=_hidden"], []),
            (["proto=https"], []),
            ([], ["garbage"]),
            ([], ["10.0.0.1," * 200 + "8.8.8.8"]),
            ([], ["8.8.8.8," + "10.0.0.1," * 200]),
        ],
    )
    def test_who_came_through_a_proxy_from_outside_is_not(
        self, forwarded: list[str], x_forwarded_for: list[str]
    ) -> None:
        assert not is_inside("127.0.0.1", forwarded, x_forwarded_for)

    @pytest.mark.parametrize(
        "written",
        [
            'for=10.0.0.1;x="',
            "for=10.0.0.1;x=\\",
            'for=10.0.0.1;x=\\"',
            'for="10.0.0.1',
            'for=10.0.0.1;x="\\',
            "for=10.0.0.1;",
        ],
    )
    @pytest.mark.parametrize(
        "appended", ["for=8.8.8.8", 'for="[2001:db8::1]:80"', 'for=8.8.8.8;host="a\\"b"', 'by="x";for="8.8.8.8"']
    )
    def test_a_client_cannot_hide_what_the_proxy_appends(self, written: str, appended: str) -> None:
        assert not is_inside("127.0.0.1", [f"{written}, {appended}"], [])
        assert not is_inside("127.0.0.1", [written, appended], [])

    @given(
        st.text(), st.sampled_from(["for=8.8.8.8", 'for="8.8.8.8:80";proto=https', 'by=10.0.0.1;for="[2001:db8::1]"'])
    )
    def test_nothing_before_a_public_address_brings_it_inside(self, written: str, appended: str) -> None:
        assert not is_inside(None, [f"{written}, {appended}"], [])
        assert not is_inside(None, [], [f"{written}, 8.8.8.8"])


class TestClientAddress:
    @pytest.mark.parametrize(
        ("peer", "forwarded", "x_forwarded_for", "client"),
        [
            ("8.8.8.8", [], [], "8.8.8.8"),
            ("8.8.8.8", ["for=1.1.1.1"], ["1.1.1.1"], "8.8.8.8"),
            ("10.0.0.1", [], [], "10.0.0.1"),
            ("::ffff:10.0.0.1", [], [], "10.0.0.1"),
            ("testclient", [], [], "127.0.0.1"),
            (None, [], [], None),
            ("", [], [], None),
            ("somewhere", [], ["1.1.1.1"], None),
            (None, [], ["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", [], ["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1", [], ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", [], ["garbage, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", [], ["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
            ("10.0.0.1", ["for=1.1.1.1"], [], "1.1.1.1"),
            ("10.0.0.1", ['for="['], ["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", [], ["1.1.1.1, unknown"], None),
            ("10.0.0.1", ["for=_hidden"], [], None),
        ],
    )
    def test_it_is_the_nearest_that_is_not_private(
        self, peer: str | None, forwarded: list[str], x_forwarded_for: list[str], client: str | None
    ) -> None:
        assert client_address(peer, forwarded, x_forwarded_for) == client

    @given(st.none() | st.text() | addresses, st.lists(st.text(), max_size=2), st.lists(st.text(), max_size=2))
    def test_it_is_an_address_or_nobody(
        self, peer: str | None, forwarded: list[str], x_forwarded_for: list[str]
    ) -> None:
        client = client_address(peer, forwarded, x_forwarded_for)
        assert client is None or ip_address(client)

    @given(st.text(), addresses)
    def test_what_a_client_writes_does_not_hide_the_address_its_proxy_saw(self, written: str, address: str) -> None:
        if not is_private(address):
            seen = str(getattr(ip_address(address), "ipv4_mapped", None) or address)
            assert client_address("10.0.0.1", [], [f"{written},{address}"]) == seen
