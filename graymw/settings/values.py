"""Reads one setting's value: from the text of the environment or the typed value of a file to what the code uses.

Every reader takes the raw value and returns the typed one, or raises ``RefusedError`` with everything wrong with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from graymw.core.carrying.signing import MAX_TTL

SourceKind: TypeAlias = Literal["header", "cookie", "query", "user-agent"]
Trust: TypeAlias = Literal["private", "none", "all", "signed"]

VERSION_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_SHARE: Final = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?\s*%")
_SUFFIX: Final = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True, slots=True)
class FactSource:
    """One place where a fact about the request comes from: ``header:x-user-id``, ``cookie:uid``, ``user-agent``.

    Attributes:
        kind: What is read.
        name: Which one; header names in lower case, empty for ``user-agent``.
    """

    kind: SourceKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a value; ``where`` is the place inside it (``.orders[0].url``), empty for the whole."""

    message: str
    mend: str
    where: str = ""


class RefusedError(ValueError):
    """A value cannot be used; ``faults`` says all that is wrong with it."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.message for fault in faults))


def refused(message: str, mend: str) -> RefusedError:
    """The error for a value with one fault."""
    return RefusedError(Fault(message, mend))


def text(value: object) -> str:
    """A string. A whole number is its decimal text; a float or truth value was typed by YAML or TOML: refused."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | float):
        raise refused(f"the file's format made {value!r} of it, not a string", 'write it in quotes, such as "1.10"')
    if isinstance(value, int):
        return str(value)
    raise refused(f"a string is needed, not {_kind(value)}", "write one string")


def flag(value: object) -> bool:
    """True or false, as the format's own truth value or the words and digits used in environments."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise refused(f"{_shown(value)} is neither true nor false", "write true or false")


def seconds(value: object) -> int:
    """A whole number of seconds, at least 1."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,10}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise refused(f"{_shown(value)} is no whole number of seconds", "write a whole number from 1, such as 300")
    return value


def signature_seconds(value: object) -> int:
    """How long a signature may hold, in seconds."""
    read = seconds(value)
    if read > MAX_TTL:
        raise refused(f"{read} seconds is longer than receivers believe a signature", f"write at most {MAX_TTL}")
    return read


def label(value: object) -> str:
    """A version label."""
    written = text(value)
    if not VERSION_PATTERN.fullmatch(written):
        raise refused(
            f"{_shown(written)} is no version label",
            "write letters, digits, '.', '_' or '-', beginning with a letter or digit, at most 64",
        )
    return written


def name(value: object) -> str:
    """A name or place in printable characters."""
    written = text(value)
    if not written.isprintable():
        raise refused("it holds characters that cannot be printed", "write printable characters only")
    return written


def sink(value: object) -> str:
    """Where lines go: ``stdout``, ``stderr`` or the path of a file; empty for nowhere."""
    word = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
    if word in _FALSE:
        return ""
    if word in _TRUE:
        raise refused(f"{_shown(value)} names no place", "write stdout, stderr or the path of a file")
    return word if word in ("stdout", "stderr") else name(value)


def share(value: object) -> str:
    """A share of the traffic as it is written in rules: ``10%``, steps of 0.01 %."""
    written = value.strip() if isinstance(value, str) else ""
    match = _SHARE.fullmatch(written)
    if match is None:
        raise refused(f"{_shown(value)} is no share", "write a percentage with at most two decimals, such as 10%")
    if int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0")) > 10_000:
        raise refused(f"{written} is more than everyone", "write at most 100%")
    return written.replace(" ", "")


def ratio(value: object) -> float:
    """A share as OpenTelemetry's samplers take it, from 0 to 1, or as a percentage."""
    written = value.strip() if isinstance(value, str) else value
    percent = isinstance(written, str) and written.endswith("%")
    try:
        read = math.nan if isinstance(value, bool) else float(str(written).removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        read = math.nan
    if not 0 <= read <= 1:
        raise refused(f"{_shown(value)} is no share of traces", "write a number from 0 to 1, such as 0.05, or 5%")
    return read


def trust(value: object) -> Trust:
    """Whose gray baggage counts."""
    word = text(value).lower()
    for choice in get_args(Trust):
        if word == choice:
            return choice  # type: ignore[no-any-return]
    raise refused(f"{_shown(value)} is no kind of trust", "write private, none, all or signed")


def secrets(value: object) -> tuple[bytes, ...]:
    """Signing keys, the first one signs. The value never appears in a message."""
    parts = items(value, ",", "a comma between keys")
    if not all(isinstance(part, str) for part in parts):
        raise refused("a signing key is no string", "write each key in quotes")
    return tuple(str(part).encode() for part in parts)


def suffixes(value: object) -> tuple[str, ...]:
    """Host name suffixes, lower case, each with its leading dot."""
    found: list[str] = []
    for item in items(value, r"[,\s]+", "a comma or a blank between suffixes"):
        written = text(item).lower().removeprefix("*")
        if not _SUFFIX.fullmatch(written):
            raise refused(f"{_shown(item)} is no host name suffix", "write suffixes such as .internal or .example.com")
        found.append("." + written.removeprefix("."))
    return tuple(dict.fromkeys(found))


def sources(*, user_agent: bool = False) -> Callable[[object], tuple[FactSource, ...]]:
    """Reader of places for one fact, tried in the written order.

    Args:
        user_agent: Whether the device class of the user agent may be named.
    """

    def read(value: object) -> tuple[FactSource, ...]:
        return tuple(_source(text(item), user_agent) for item in items(value, ",", "a comma between places"))

    return read


def _source(written: str, user_agent: bool) -> FactSource:
    kind, _, name_ = (part.strip() for part in written.partition(":"))
    if user_agent and kind.lower() == "user-agent" and not name_:
        return FactSource("user-agent")
    also = " or user-agent" if user_agent else ""
    for known in ("header", "cookie", "query"):
        if kind.lower() != known:
            continue
        if known != "query" and not _TOKEN.fullmatch(name_):
            raise refused(f"{_shown(written)} names no {known}", f"write {known}:NAME")
        if not name_:
            raise refused(f"{_shown(written)} names no {known} parameter", "write query:NAME")
        return FactSource(known, name_.lower() if known == "header" else name_)
    raise refused(f"{_shown(written)} is no place in a request", f"write header:NAME, cookie:NAME or query:NAME{also}")


def items(value: object, separator: str, told: str) -> Sequence[object]:
    """Parts of a list, or of a string that stands for one.

    Args:
        value: The list, or the string.
        separator: Pattern of what stands between parts in a string.
        told: The same for people.

    Raises:
        RefusedError: It is neither.
    """
    if isinstance(value, str):
        return [part.strip() for part in re.split(separator, value) if part.strip()]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return value
    raise refused(f"a list is needed, not {_kind(value)}", f"write a list, or a string with {told}")


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, str | bytes):
        return "a string"
    return "a list" if isinstance(value, Sequence) else type(value).__name__


def _shown(value: object) -> str:
    """The value for a message, short."""
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
