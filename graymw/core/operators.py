"""The operators of ``match`` on text: what each means, once for compiling and explaining."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_LONGEST_ADDRESS: Final = 64
"""Characters of an address with its scope; anything longer comes from a header and must not fill the memory."""

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)


def number(text: str | None) -> int | float | None:
    """Number of a plain decimal, with or without a fraction (``40``, ``-2.5``); None for anything else."""
    if text is None or _NUMBER.fullmatch(text) is None:
        return None
    return float(text) if "." in text else int(text)


def remainder(value: int, divisor: int) -> int:
    """Remainder with the sign of the dividend, as in C and CEL. ``divisor`` is not 0."""
    rest = abs(value) % abs(divisor)
    return -rest if value < 0 else rest


@lru_cache(maxsize=1_024)
def in_networks(networks: tuple[str, ...]) -> Callable[[str], bool]:
    """Test whether an address lies in one of the networks; IPv4-mapped IPv6 addresses count as IPv4.

    A text that is no address does not. A network may be written with host bits (``10.1.2.3/8``).
    """
    parsed: list[IPv4Network | IPv6Network] = [ip_network(network, strict=False) for network in networks]

    @lru_cache(maxsize=2_048)
    def remembered(text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in parsed)

    return lambda text: len(text) <= _LONGEST_ADDRESS and remembered(text)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
