"""What releases, versions, services, headers and rules may be called (contract, §2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graymw.core import names


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        (names.is_release, ["a", "0-a", "a" * 63], ["", "-a", "A", "a.b", "a\n", "a" * 64, "é"]),
        (names.is_version, ["v2", "3.1-rc.1_x", "V" * 64], ["", ".1", "v 2", "v2\n", "v" * 65, "é", "v/2"]),
        (names.is_service, ["orders", "shop/orders", "a:b@c"], ["", "/orders", "a b", "a\n", "o" * 129]),
        (names.is_header, ["x-gray", "X_a.b!"], ["", "x gray", "x:", "x\n", "é"]),
        (
            names.is_host,
            ["10.0.0.1", "fe80::1%eth0", "orders-7.internal", "bücher.example", "a" * 253],
            ["", "a b", "a\r\nx: y", "a/b", "u@h", "a?b", "a#b", "[::1]", "a\\b", "a" * 254, "\x7f"],
        ),
        (names.is_label, ["mobile, eu", "测试"], ["", " a", "a ", "a\tb", "\x7f", "x" * 129]),
    ],
)
def test_names_follow_their_pattern(allowed: Callable[[str], bool], good: list[str], bad: list[str]) -> None:
    assert [name for name in good if not allowed(name)] == []
    assert [name for name in bad if allowed(name)] == []
