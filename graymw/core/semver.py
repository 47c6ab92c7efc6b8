"""Version ranges: SemVer 2.0.0 precedence (semver.org, §11) and the range language of npm.

``>=2.1 <3`` (both), ``^1.2 || ~2.0.3`` (either), ``1.x``, ``1.2 - 2.3``, ``=1.2.3``, ``*``.

A bound compares by the parts it names: ``<3`` leaves out every 3, pre-releases too, and ``>=2.1`` takes in
``2.1.0-beta``; ``>=2.1.0`` does not, because a pre-release precedes its version. Build metadata does not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

# Versions become tuples whose order is SemVer's. A shorter tuple sorts before all it is a prefix of,
# so every comparator is a half-open interval of tuples.
_Key: TypeAlias = tuple[Any, ...]
_Interval: TypeAlias = tuple[_Key, _Key]

_RELEASED: Final = (1,)
_LOWEST: Final[_Key] = ()
_HIGHEST: Final[_Key] = (float("inf"),)
_ANY: Final[_Interval] = (_LOWEST, _HIGHEST)

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_LABEL = r"[0-9A-Za-z-]{1,64}"
_TAIL = rf"(?:-(?P<pre>{_LABEL}(?:\.{_LABEL})*))?(?:\+{_LABEL}(?:\.{_LABEL})*)?"
_VERSION: Final = re.compile(rf"v?(?P<a>{_NUMBER})(?:\.(?P<b>{_NUMBER}))?(?:\.(?P<c>{_NUMBER}))?{_TAIL}", re.ASCII)
_PART = rf"(?:{_NUMBER}|[xX*])"
_COMPARATOR: Final = re.compile(
    rf"(?P<op>>=|<=|>|<|=|~|\^)?\s*v?(?P<a>{_PART})(?:\.(?P<b>{_PART}))?(?:\.(?P<c>{_PART}))?{_TAIL}", re.ASCII
)
_MAX_VALUE: Final = 256
_MAX_RANGE: Final = 1_024


class RangeError(ValueError):
    """A range that cannot be read; the message is one sentence."""


@lru_cache(maxsize=1_024)
def compile_range(expression: str) -> Callable[[str], bool]:
    """Test whether a version text lies in the range; a text that is no version does not.

    Versions may leave out parts (``2.1`` is ``2.1.0``) and begin with ``v``.

    Raises:
        RangeError: ``expression`` is no range, or no version can lie in it.
    """
    intervals = _parse_range(expression)

    def contains(value: str) -> bool:
        key = version_key(value)
        return key is not None and any(low <= key < high for low, high in intervals)

    return contains


def problem(expression: str) -> str | None:
    """What is wrong with a range, one sentence; None for a good one."""
    try:
        compile_range(expression)
    except RangeError as exc:
        return str(exc)
    return None


def version_key(value: str) -> tuple[Any, ...] | None:
    """Sort key of a version in SemVer's order, None where ``value`` is no version."""
    found = _VERSION.fullmatch(value) if len(value) <= _MAX_VALUE else None
    if found is None:
        return None
    numbers = (int(found["a"]), int(found["b"] or 0), int(found["c"] or 0))
    pre = found["pre"]
    if pre is None:
        return (*numbers, _RELEASED)
    if found["c"] is None or not _valid_prerelease(pre):
        return None
    return (*numbers, _prerelease(pre))


def _valid_prerelease(text: str) -> bool:
    return not any(part.isdigit() and part != "0" and part.startswith("0") for part in text.split("."))


def _prerelease(text: str) -> _Key:
    """Identifiers in order: numeric ones by number and before all others (§11.4)."""
    return (0, *((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split(".")))


def _parse_range(expression: str) -> tuple[_Interval, ...]:
    if len(expression) > _MAX_RANGE:
        raise RangeError(f"the range is longer than {_MAX_RANGE} characters")
    intervals = [_alternative(part.strip(), expression) for part in expression.split("||")]
    kept = tuple((low, high) for low, high in intervals if low < high)
    if not kept:
        raise RangeError(f"no version can lie in the range '{expression}'")
    return kept


def _alternative(text: str, whole: str) -> _Interval:
    if not text:
        raise RangeError(f"a part of the range '{whole}' is empty, write * for any version")
    hyphen = re.split(r"\s+-\s+", text)
    if len(hyphen) == 2:
        return _meet(_comparator(f">={hyphen[0]}", whole), _comparator(f"<={hyphen[1]}", whole))
    interval, position = _ANY, 0
    while position < len(text):
        found = _COMPARATOR.match(text, position)
        end = found.end() if found else position
        if found is None or (end < len(text) and text[end] not in " \t,"):
            raise RangeError(f"'{text[position:]}' is no version bound, write such as >=2.1, <3, ^1.2, ~1.2.3 or 1.x")
        interval = _meet(interval, _bounds(found, whole))
        position = end + len(text[end:]) - len(text[end:].lstrip(" \t,"))
    return interval


def _comparator(text: str, whole: str) -> _Interval:
    found = _COMPARATOR.fullmatch(text)
    if found is None:
        raise RangeError(f"'{whole}' is no range of versions, write such as 1.2 - 2.3")
    return _bounds(found, whole)


def _bounds(found: re.Match[str], whole: str) -> _Interval:
    """Interval of one comparator."""
    operator = found["op"] or "="
    parts = _named_parts(found)
    pre = found["pre"]
    if pre is not None and (len(parts) < 3 or not _valid_prerelease(pre)):
        raise RangeError(f"the pre-release in '{whole}' needs a full version, such as 2.1.0-beta.1")
    if not parts:
        return _ANY if operator in {"=", ">=", "<=", "~", "^"} else (_LOWEST, _LOWEST)
    low, after = _edges(parts, pre)
    if operator == "^":
        return low, _raised(parts, _caret_index(parts))
    if operator == "~":
        return low, _raised(parts, min(len(parts), 2) - 1)
    return {
        "=": (low, after),
        ">=": (low, _HIGHEST),
        ">": (after, _HIGHEST),
        "<=": (_LOWEST, after),
        "<": (_LOWEST, low),
    }[operator]


def _named_parts(found: re.Match[str]) -> tuple[int, ...]:
    named: list[int] = []
    for name in "abc":
        part = found[name]
        if part is None or part in "xX*":
            break
        named.append(int(part))
    return tuple(named)


def _edges(parts: tuple[int, ...], pre: str | None) -> tuple[_Key, _Key]:
    """First key that a written version covers and the first one after it."""
    if len(parts) < 3:
        return parts, _raised(parts, len(parts) - 1)
    key = (*parts, _RELEASED if pre is None else _prerelease(pre))
    return key, (*key, 0)


def _raised(parts: tuple[int, ...], index: int) -> _Key:
    return (*parts[:index], parts[index] + 1)


def _caret_index(parts: tuple[int, ...]) -> int:
    """The leftmost part that is not zero may not change; of all zeros the last one named."""
    return next((index for index, part in enumerate(parts) if part), len(parts) - 1)


def _meet(left: _Interval, right: _Interval) -> _Interval:
    return max(left[0], right[0]), min(left[1], right[1])
