"""The application's own baggage: from header text to OpenTelemetry baggage and back without harm.

Source: W3C Baggage, §3.2.1: keys are tokens, values percent-encoded UTF-8, optional ``;properties`` after them.
OpenTelemetry's own propagator decodes forms (a plus is a space), keeps properties as part of the value and encodes all
of it anew. So members that nobody changed are sent on as they came; only the others are encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, unquote, unquote_plus

from graymw.core.carrying.wire import is_ours

_OWS: Final = " \t"
_CACHED_TEXTS: Final = 256
_CACHED_LENGTH: Final = 2_048

_PLAIN_IN_KEY: Final = "!#$&'*^`|"
"""Characters of a token that every decoder leaves alone; a plus is a space to some."""


class _Original:
    """Application baggage as it came.

    Attributes:
        text: The whole, where HTTP may carry it on as it is; else None.
        values: By key, decoded as W3C says.
        otherwise: The same as OpenTelemetry's propagator decodes it, where that differs.
        members: ``(key, key as OpenTelemetry decodes it, member verbatim)``; None for one that HTTP may not carry on.
    """

    __slots__ = ("members", "otherwise", "text", "values")

    def __init__(self, text: str) -> None:
        if not text.isascii():  # not allowed, but read as what it must have been before servers made Latin-1 of it
            text = text.encode("latin-1", "replace").decode("utf-8", "replace")
        self.text = text.strip(_OWS) if _is_sendable(text) else None
        self.values: dict[str, str] = {}
        self.otherwise: dict[str, str] = {}
        self.members: list[tuple[str, str, str | None]] = []
        for member in text.split(","):
            name, equals, value = member.partition("=")
            key = other_key = name.strip(_OWS)
            if not equals or not key:
                continue
            value = value.strip(_OWS)
            if "%" in member or "+" in member or ";" in member:
                other_key, other_value = unquote_plus(key).strip(), unquote_plus(value).strip()
                key, value = unquote(key), unquote(value.partition(";")[0].rstrip(_OWS))
                if other_key != key or other_value != value:
                    self.otherwise[other_key] = other_value
            self.values[key] = value
            self.members.append((key, other_key, member if self.text is not None or _is_sendable(member) else None))


def _is_sendable(text: str) -> bool:
    return text.isascii() and (text.isprintable() or text.replace("\t", " ").isprintable())


def _read(text: str) -> _Original:
    return _read_cached(text) if len(text) <= _CACHED_LENGTH else _Original(text)


_read_cached = lru_cache(_CACHED_TEXTS)(_Original)


def decode_application(application: str) -> Mapping[str, str]:
    """Values by key, percent-decoded; properties are left out, a plus stays a plus, of equal keys the last counts.

    Args:
        application: Text of the application's members, as ``separate`` gives it. Bytes that are no UTF-8 become
            U+FFFD here, and travel on unharmed by ``encode_application``.
    """
    return MappingProxyType(_read(application).values)


def encode_application(baggage: Mapping[str, object], raw: str) -> str:
    """Header text of the application's baggage as it is now; our members in it are left out.

    Args:
        baggage: Values by key, as OpenTelemetry holds them; what is no string goes as its ``str()``.
        raw: What came in: those of its members that still hold the same value are sent verbatim, properties included.

    Returns:
        Text for ``compose``: visible ASCII, blanks and tabs only.
    """
    original = _read(raw)
    values = original.values
    unchanged: set[str] = set()
    written: list[str] = []
    for key, value in baggage.items():
        text = value if type(value) is str else _text(value)
        if text is not None and (values.get(key) == text or original.otherwise.get(key) == text):
            unchanged.add(key)
        elif text is not None and not is_ours(name := str(key).strip()) and name:
            written.append(_encoded(name, text))
    if original.text is not None and not written and unchanged.issuperset(values):
        return original.text
    kept = [
        member or _encoded(key, values[key])
        for key, other_key, member in original.members
        if key in unchanged or other_key in unchanged
    ]
    return ",".join(kept + written).strip(_OWS)


def _text(value: object) -> str | None:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an application's own object; its member is left out, the call goes on
        return None


def _encoded(key: str, value: str) -> str:
    return f"{quote(key, _PLAIN_IN_KEY, errors='replace')}={quote(value, '', errors='replace')}"
