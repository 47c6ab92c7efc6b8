"""One node to one scalar of the model; what is wrong is reported where the node stands."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

from graymw.core.document.tree import Cursor, kind, shown
from graymw.core.model import SHARE_SCALE

_PERCENT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?[ ]?(%?)")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)  # RFC 3339, §5.6
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MEND = re.compile(r", (?=(?:write|did you|choose|use|known|expected) )")
_STEP: Final = SHARE_SCALE // 100
_MAX_NUMBER: Final = 2**63


def text(cursor: Cursor, what: str, *, empty: bool = False) -> str | None:
    """Text of a scalar, None where it is none (reported).

    An integer counts as its decimal text. What YAML, JSON or TOML reads as something else than is written (``1.10`` as
    1.1, ``007`` as 7) is refused: only quotes tell what was meant.
    """
    value = cursor.value
    raw = cursor.node.raw
    if isinstance(value, str):
        if value or empty:
            return value
        cursor.error(f"{what} is empty", "write some text or leave it out")
        return None
    if value is None:
        cursor.error(f"{what} has no value", "write one or leave it out")
    elif isinstance(value, bool):
        cursor.error(f"{what} is the truth value {raw}, not text", f'write "{raw}" in quotes')
    elif isinstance(value, int) and raw == str(value):
        return raw
    elif isinstance(value, int | float):
        cursor.error(
            f"{what} {shown_number(raw)} is read as the number {value!r}, not as text",
            f'write "{shown_number(raw)}" in quotes',
        )
    else:
        cursor.error(f"{what} must be text, not {kind(cursor.node)}", "write a single value")
    return None


def refuse(cursor: Cursor, fault: str, mend: str) -> None:
    """Report what a validator of the core says, which has its mend behind a comma where it knows one."""
    parted = _MEND.search(fault)
    if parted is None:
        cursor.error(fault, mend)
    else:
        cursor.error(fault[: parted.start()], fault[parted.end() :])


def shown_number(raw: str) -> str:
    """A number as it was written, cut where it is endless."""
    return raw if len(raw) <= 60 else raw[:60] + "…"


def truth(cursor: Cursor, what: str) -> bool | None:
    """A truth value, None where it is none (reported)."""
    value = cursor.value
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "yes", "on", "1", "false", "no", "off", "0"}:
        wanted = "true" if value.lower() in {"true", "yes", "on", "1"} else "false"
        cursor.error(f"{what} is {kind(cursor.node)}, not a truth value", f"write {wanted} without quotes")
    else:
        cursor.error(f"{what} must be true or false, not {kind(cursor.node)}", "write true or false")
    return None


def number(cursor: Cursor, what: str) -> int | float | None:
    """A finite number below 2**63, an integer where it is whole; None where it is none (reported)."""
    value = cursor.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        bare = f"write {value} without quotes" if isinstance(value, str) and _is_number(value) else "write a number"
        cursor.error(f"{what} needs a number, not {kind(cursor.node)}", bare)
        return None
    if not math.isfinite(value) or abs(value) >= _MAX_NUMBER:
        cursor.error(
            f"{what} needs a number of at most 64 bits, not {shown_number(cursor.node.raw)}", "write a smaller number"
        )
        return None
    return int(value) if value == int(value) else value


def _is_number(written: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?", written, re.ASCII) is not None


def whole(cursor: Cursor, what: str) -> int | None:
    """An integer below 2**63, None where it is none (reported)."""
    value = number(cursor, what)
    if isinstance(value, float):
        cursor.error(f"{what} needs a whole number, not {cursor.node.raw}", "write a number without a fraction")
        return None
    return value


def share(cursor: Cursor) -> int | None:
    """A percentage as a share of ``SHARE_SCALE``, None where it is none (reported).

    ``10%``, ``0.25%``; a bare number is a percentage, too, where it can be nothing else: 10, 12.5, 1. A bare number
    with a point that is at most 1 could as well be a fraction (is 0.5 a half, or half a percent?) and is refused.
    """
    value = cursor.value
    written = value.strip() if isinstance(value, str) else cursor.node.raw
    match = None if isinstance(value, bool) else _PERCENT.fullmatch(written)
    if match is None:
        cursor.error(f"a share must be a percentage, not {kind(cursor.node)}", "write it like 10% or 0.25%")
        return None
    wholes, digits, sign = match.groups()
    fraction = (digits or "").rstrip("0")
    parts = int(wholes) * _STEP + int(fraction[:2].ljust(2, "0"))
    finer = len(fraction) > 2
    if parts + finer > SHARE_SCALE:
        cursor.error(f"{shown_number(written)} is more than 100%", "write a share of at most 100%")
        return None
    if finer:
        cursor.error(f"{written} is finer than 0.01%", f"write {percentage(parts)} or {percentage(parts + 1)}")
        return None
    if digits is not None and not sign and 0 < parts <= _STEP:
        both = f"{percentage(parts)} or {percentage(parts * 100)}"
        cursor.error(f"{written} could be {both}", f"write {both}")
        return None
    return parts


def percentage(parts: int) -> str:
    """Share as people write it: ``10%``, ``0.25%``."""
    wholes, rest = divmod(parts, _STEP)
    fraction = f"{rest:02d}".rstrip("0")
    return f"{wholes}.{fraction}%" if fraction else f"{wholes}%"


def moment(cursor: Cursor, what: str) -> float | None:
    """An RFC 3339 time as seconds since the epoch, None where it is none (reported)."""
    written = cursor.value
    match = _TIME.fullmatch(written.strip()) if isinstance(written, str) else None
    if match is None:
        cursor.error(f"{what} needs an RFC 3339 time, not {kind(cursor.node)}", _time_mend(written))
        return None
    day, clock, fraction, zone = match.groups()
    try:
        made = datetime.fromisoformat(
            f"{day}T{clock}.{(fraction or '0').ljust(6, '0')[:6]}{'+00:00' if zone in 'zZ' else zone}"
        )
        return made.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        cursor.error(f"{what}: there is no such time as {shown(written)}", "write a date and a time that exist")
        return None


def _time_mend(written: object) -> str:
    bare = written.strip() if isinstance(written, str) else ""
    if _DATE.fullmatch(bare):
        return f"write {bare}T00:00:00Z"
    if _TIME.fullmatch(bare + "Z"):
        return f"add the zone: {bare}Z"
    return "write it like 2026-01-31T12:00:00Z"


def rfc3339(seconds: float) -> str:
    """Time of seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
