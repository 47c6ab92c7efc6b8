"""Which hosts may be told the gray members (contract, §5). Whatever is in doubt is a stranger."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from graymw.core.carrying.peers import is_loopback_or_private

_LONGEST: Final = 253  # RFC 1035, §2.3.4
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_REMEMBERED: Final = 2_048


class EgressPolicy:
    """Known services, loopback and private addresses, single-label names and some suffixes.

    Args:
        services: Logical names, in any case.
        suffixes: With or without a leading dot; ``.internal`` allows ``a.internal`` and ``internal``.

    Raises:
        ValueError: A suffix is no host name, or is empty: it would allow every host.
    """

    __slots__ = ("_allowed", "_endings", "_services")

    def __init__(self, services: Iterable[str], suffixes: Iterable[str]) -> None:
        self._services = frozenset(_normal(service) or service for service in services)
        endings = []
        for suffix in suffixes:
            name = _normal(suffix.removeprefix("*").removeprefix("."))
            if name is None or not _NAME.fullmatch(name):
                raise ValueError(f"{suffix!r} is no host name suffix; write one such as .internal or .example.com")
            endings.append(f".{name}")
        self._endings = tuple(endings)
        self._allowed: dict[str, bool] = {}

    def allows(self, host: str) -> bool:
        """Whether calls to a host carry the gray members.

        Args:
            host: Host of the URL that is called, without port; an IPv6 address with or without brackets.
        """
        allowed = self._allowed.get(host)
        if allowed is None:
            allowed = self._decide(host)
            if len(self._allowed) >= _REMEMBERED:
                self._allowed.clear()
            if len(host) <= _LONGEST:
                self._allowed[host] = allowed
        return allowed

    def _decide(self, host: str) -> bool:
        name = _normal(host)
        if not name:
            return False
        if name in self._services:
            return True
        if ":" in name and "%" not in name:
            return is_loopback_or_private(name[1:-1] if name[0] == "[" and name[-1] == "]" else name)
        if not _NAME.fullmatch(name):
            return False
        if _NUMBER.fullmatch(name.rpartition(".")[2]):
            return name == host and is_loopback_or_private(name)  # written in any other way, resolvers differ
        return "." not in name or f".{name}".endswith(self._endings)


def _normal(host: str) -> str | None:
    """Lower case, without the root's dot, IDNA-encoded (RFC 3490); None for what cannot be a host."""
    if len(host) > _LONGEST + 1:
        return None
    name = host.lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    name = name.removesuffix(".")
    return name if 0 < len(name) <= _LONGEST else None
