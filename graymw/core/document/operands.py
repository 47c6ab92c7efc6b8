"""Operands of the operators that mean the same for every fact."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Final

from graymw.core.document import scalars
from graymw.core.document.tree import Cursor, shown
from graymw.core.model import Operand


def _regex(cursor: Cursor) -> str | None:
    from graymw.core import patterns  # noqa: PLC0415 - brings RE2, which few documents need

    value = scalars.text(cursor, "the regex")
    if value is None:
        return None
    fault = patterns.problem(value)
    if fault is not None:
        scalars.refuse(cursor, f"bad regex: {fault}", "write an RE2 pattern: no lookaround, no backreferences")
        return None
    if value.startswith("^") and not value.endswith(("$", ".*")):
        cursor.warn(
            f"the regex {shown(value)} has to match the whole value, not only its beginning",
            "append .* or write {prefix: ...}; append $ where the whole is meant",
        )
    return value


def _exists(cursor: Cursor) -> bool | None:
    return scalars.truth(cursor, "`exists`")


def _number(cursor: Cursor) -> int | float | None:
    return scalars.number(cursor, "a comparison")


def _mod(cursor: Cursor) -> tuple[int, int] | None:
    if not cursor.is_list("`mod`", "mod: [10, 0]"):
        return None
    items = list(cursor.items())
    if len(items) != 2:
        cursor.error(f"`mod` has {len(items)} numbers", "write divisor and remainder: mod: [10, 0]")
        return None
    divisor, remainder = (scalars.whole(item, "`mod`") for item in items)
    if divisor is None or remainder is None:
        return None
    if divisor <= 0:
        items[0].error(f"the divisor is {divisor}", "write a divisor of at least 1")
        return None
    if abs(remainder) >= divisor:
        items[1].error(f"no remainder by {divisor} is {remainder}", f"write a remainder from 0 to {divisor - 1}")
        return None
    return divisor, remainder


def _semver(cursor: Cursor) -> str | None:
    from graymw.core import semver  # noqa: PLC0415 - as with regex

    value = scalars.text(cursor, "the version range")
    if value is None:
        return None
    fault = semver.problem(value)
    if fault is not None:
        scalars.refuse(cursor, f"bad version range: {fault}", 'write it like ">=2.1 <3"')
        return None
    return value


def _cidr(cursor: Cursor) -> tuple[str, ...] | None:
    items = list(cursor.items()) if isinstance(cursor.value, list) else [cursor]
    if not items:
        cursor.error("the list of networks is empty", "write at least one network")
        return None
    found = [_network(item) for item in items]
    sound = tuple(dict.fromkeys(network for network in found if network is not None))
    return None if None in found else sound


def _network(cursor: Cursor) -> str | None:
    value = scalars.text(cursor, "the network")
    if value is None:
        return None
    try:
        return str(ip_network(value))
    except ValueError:
        pass
    try:
        wider = str(ip_network(value, strict=False))
    except ValueError:
        cursor.error(f"{shown(value)} is no network", "write it like 10.0.0.0/8 or 2001:db8::/32")
    else:
        cursor.error(f"the network {shown(value)} has bits behind its prefix", f"write {wider}")
    return None


OPERANDS: Final[dict[str, Callable[[Cursor], Operand | None]]] = {
    "regex": _regex,
    "exists": _exists,
    "gt": _number,
    "ge": _number,
    "lt": _number,
    "le": _number,
    "mod": _mod,
    "semver": _semver,
    "cidr": _cidr,
}
