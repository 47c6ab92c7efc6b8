"""Whom a request came from: the socket's peer, and whom the proxies before it name.

Sources: RFC 7239 (``Forwarded``), RFC 1918 and 4193 (private), 3927 and 4291 (link-local, loopback, IPv4-mapped), and
the de-facto ``X-Forwarded-For``. Both lists run from the client to the nearest proxy, and only what our own proxies
wrote at the right of them can be believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final, NamedTuple

UNKNOWN: Final = "unknown"
"""Stands for a node that is hidden, obfuscated or malformed (RFC 7239, §6.2, §6.3)."""

_TEST_CLIENT: Final = "testclient"
_OWS: Final = " \t"
_CACHED: Final = 4_096
_LONGEST: Final = 64  # an IPv6 address is 45 characters, with port or scope somewhat more
_LONGEST_LIST: Final = 8_192
_MAX_NODES: Final = 64
_OCTETS: Final = {str(octet): octet for octet in range(256)}


class _Address(NamedTuple):
    text: str
    is_private: bool
    is_link_local: bool


def is_private(address: str | None) -> bool:
    """Whether an address is loopback, private or link-local, or a Unix socket (None).

    Addresses may have a scope id; IPv4-mapped ones count as the IPv4 address. What is no address is not private,
    except the ``testclient`` of Starlette's ``TestClient``.
    """
    if address is None:
        return True
    known = _address(address) if len(address) <= _LONGEST else None
    return known is not None and (known.is_private or known.is_link_local)


def is_loopback_or_private(address: str) -> bool:
    """The same without link-local, where the metadata services of clouds listen."""
    known = _address(address) if len(address) <= _LONGEST else None
    return known is not None and known.is_private


@lru_cache(_CACHED)
def _address(text: str) -> _Address | None:
    if text == _TEST_CLIENT:
        return _Address("127.0.0.1", is_private=True, is_link_local=False)
    return _ipv6(text) if ":" in text else _ipv4(text)


def _ipv4(text: str) -> _Address | None:
    try:
        first, second, _, _ = map(_OCTETS.__getitem__, text.split("."))
    except (KeyError, ValueError):
        return None
    private = first in (10, 127) or (first == 172 and 16 <= second < 32) or (first == 192 and second == 168)
    return _Address(text, private, first == 169 and second == 254)


def _ipv6(text: str) -> _Address | None:
    try:
        address = IPv6Address(text)
    except ValueError:
        return None
    if address.ipv4_mapped is not None:
        return _ipv4(str(address.ipv4_mapped))
    packed = address.packed
    private = packed[0] & 0xFE == 0xFC or address.is_loopback
    return _Address(str(address).partition("%")[0], private, packed[0] == 0xFE and packed[1] & 0xC0 == 0x80)


def forwarded_addresses(forwarded: Sequence[str], x_forwarded_for: Sequence[str]) -> list[str]:
    """Everybody whom the proxies name, ``Forwarded`` before ``X-Forwarded-For``, client first in each.

    Args:
        forwarded: Values of all ``Forwarded`` header lines.
        x_forwarded_for: Values of all ``X-Forwarded-For`` header lines.

    Returns:
        Addresses without port and brackets, IPv4-mapped ones as IPv4, and ``unknown`` for whatever is none.
    """
    nodes: list[str] = []
    if forwarded:
        nodes += _nodes_of_forwarded(",".join(forwarded))
    if x_forwarded_for:
        written = ",".join(x_forwarded_for).rsplit(",", _MAX_NODES)
        nodes += [_node(node) for node in written if node.strip(_OWS)]
    return nodes


def _nodes_of_forwarded(text: str) -> list[str]:
    """One node for each element; unknown for one that does not say for whom, and for a list that cannot be told apart.

    Addresses need no escapes, and with them a client could hide what the next proxy appends in a string of its own.
    """
    pieces = text.split('"')
    if len(text) > _LONGEST_LIST or "\\" in text or len(pieces) % 2 == 0:
        return [UNKNOWN]
    pieces[1::2] = [piece.replace(",", " ").replace(";", " ") for piece in pieces[1::2]]
    return [_node_of_element(element) for element in '"'.join(pieces).split(",") if element.strip(_OWS)]


def _node_of_element(element: str) -> str:
    pairs = [pair.partition("=") for pair in element.split(";")]
    named = [value for name, _, value in pairs if name.strip(_OWS).lower() == "for"]
    return _node(named[0]) if len(named) == 1 else UNKNOWN


def _node(written: str) -> str:
    """Address of a node as the proxies write it: ``192.0.2.7``, ``192.0.2.7:443``, ``"[2001:db8::7]:443"``."""
    text = written.strip(_OWS)
    if len(text) > _LONGEST or text == _TEST_CLIENT:
        return UNKNOWN
    known = _address(text) or _address(_host(text))
    return UNKNOWN if known is None else known.text


def _host(text: str) -> str:
    """A node without quotes, brackets and port; empty for a malformed one."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    port = ""
    if text.startswith("["):
        text, _, port = text[1:].partition("]")
        if ":" not in text:
            return ""
    elif text.count(":") == 1:
        text, colon, port = text.partition(":")
        port = colon + port
    return "" if (port and not _is_port(port)) or text == _TEST_CLIENT else text


def _is_port(text: str) -> bool:
    """Whether this is a colon and a port, which may be obfuscated (RFC 7239, §6)."""
    digits = text[1:]
    return text[0] == ":" and ((digits.isascii() and digits.isdigit()) or digits.startswith("_"))


def is_inside(peer: str | None, forwarded: Sequence[str], x_forwarded_for: Sequence[str]) -> bool:
    """Trust level ``private``: whether the peer is private, and so is everybody whom the proxies name.

    Args:
        peer: Address of the socket's peer; None or empty for a Unix socket.
        forwarded: Values of all ``Forwarded`` header lines.
        x_forwarded_for: Values of all ``X-Forwarded-For`` header lines.
    """
    if not is_private(peer or None):
        return False
    if not forwarded and not x_forwarded_for:
        return True
    return all(map(is_private, forwarded_addresses(forwarded, x_forwarded_for)))


def client_address(peer: str | None, forwarded: Sequence[str], x_forwarded_for: Sequence[str]) -> str | None:
    """Address of the client: the right-most named one that is not private, else the left-most.

    A public peer is the client whatever it says of others.

    Args:
        peer: Address of the socket's peer; None or empty for a Unix socket.
        forwarded: Values of all ``Forwarded`` header lines.
        x_forwarded_for: Values of all ``X-Forwarded-For`` header lines.

    Returns:
        The address; None where nobody knows it: a Unix socket without a proxy, or the nearest proxy hides it.
    """
    known = _address(peer) if peer and len(peer) <= _LONGEST else None
    own = None if known is None else known.text
    if not is_private(peer or None):
        return own
    nodes = forwarded_addresses(forwarded, x_forwarded_for)
    if not nodes:
        return own
    client = next((node for node in reversed(nodes) if not is_private(node)), nodes[0])
    return None if client == UNKNOWN else client
