"""The gray members of W3C baggage: telling them from the application's, reading them, putting both together.

Source: W3C Baggage, §3 (editor's draft): a comma-separated list of ``key=value;property`` members, in one or more
``baggage`` header lines. Ours are plain: ``gray.RELEASE=VERSION``, ``gray-rev=REVISION``, ``gray-sig=EXPIRY.MAC``.
Nothing here raises, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from graymw.core.context import RELEASE_PREFIX, REVISION_KEY, SIGNATURE_KEY
from graymw.core.model import MAX_CARRIED
from graymw.core.names import is_release, is_version

MAX_MEMBERS: Final = 64
MAX_BYTES: Final = 8_192
MAX_RPC_BYTES: Final = 4_096
"""gRPC refuses a call at random once all its metadata together is over 8 KiB; half of that leaves room for the rest."""

_LOOKED_AT: Final = 4 * MAX_MEMBERS
"""Members taken apart at most; what comes after them nobody need carry, and it must not cost the time of many."""

DIALECTS: Final = ("uberctx-", "ot-baggage-")
"""Prefixes of the headers that hold one baggage member each: Jaeger's and OpenTracing's, as propagators may read."""

_OWS: Final = " \t"
_REVISION: Final = re.compile(r"[0-9a-f]{8}")

# The caches stay within a few MB whatever is sent: only texts of a usual length are kept.
_CACHED_TEXTS: Final = 512
_CACHED_LENGTH: Final = 1_024


class Separated(NamedTuple):
    """Baggage taken apart, each part as header text; empty where there is none.

    Attributes:
        gray: Our members, malformed ones included.
        application: All others, verbatim.
    """

    gray: str
    application: str


NOTHING: Final = Separated("", "")


class Members(NamedTuple):
    """What the gray members of a request say.

    Attributes:
        versions: ``(release, version)`` in wire order.
        signature: ``EXPIRY.MAC`` as it came, not yet verified.
        faults: Why something was ignored, each code once: ``malformed``, ``doubled``, ``too-many``,
            ``bad-release``, ``bad-version``, ``bad-revision``.
    """

    versions: tuple[tuple[str, str], ...] = ()
    revision: str | None = None
    signature: str | None = None
    faults: tuple[str, ...] = ()


def is_ours(key: str) -> bool:
    """Whether a decoded baggage key belongs to graymw."""
    return key.startswith(RELEASE_PREFIX) or key in (REVISION_KEY, SIGNATURE_KEY)


def is_our_header(name: str) -> bool:
    """Whether a header, by its lower-case name, is one of our members in another dialect. We never read those."""
    return any(name.startswith(prefix) and is_ours(name[len(prefix) :]) for prefix in DIALECTS)


def separate(values: Sequence[str]) -> Separated:
    """Our members apart from the application's.

    A member is ours by its key, well-formed or not; also where a receiver would only see so after decoding the key.

    Args:
        values: Values of all ``baggage`` header lines, decoded as Latin-1.
    """
    if not values:
        return NOTHING
    text = values[0] if len(values) == 1 else ",".join(values)
    if "%" in text and _has_encoded_letter(text):
        return _sorted_out(text)
    last = text.rfind("gray")
    if last < 0:
        return _separated(("", text))
    end = text.find(",", last)
    head = text if end < 0 else text[:end]
    separated = _head(head) if len(head) <= _CACHED_LENGTH else None
    if separated is None:
        return _sorted_out(text)
    return separated if end < 0 else _separated((separated[0], text[end + 1 :].strip(" \t,")))


# What the class itself does, without its argument handling: half the cost of the usual case.
_separated: Final[Callable[[tuple[str, str]], Separated]] = partial(tuple.__new__, Separated)


def _has_encoded_letter(text: str) -> bool:
    """Whether a letter of "gray" is percent-encoded: OpenTelemetry decodes keys, so this could smuggle members in."""
    return "%67" in text or "%72" in text or "%61" in text or "%79" in text


@lru_cache(_CACHED_TEXTS)
def _head(head: str) -> Separated | None:
    """A header's beginning where every member is ours, as in what we send; None where another's stands among them."""
    separated = _sorted_out(head)
    return None if separated.application else separated


def _sorted_out(text: str) -> Separated:
    gray: list[str] = []
    application: list[str] = []
    for member in text.split(",", _LOOKED_AT)[:_LOOKED_AT]:
        if _is_our_member(member):
            gray.append(member.strip(_OWS))
        else:
            application.append(member)
    return Separated(",".join(gray), ",".join(application).strip(" \t,"))


def _is_our_member(member: str) -> bool:
    if "gray" not in member and "%" not in member:
        return False
    key = member.partition("=")[0].partition(";")[0].strip()
    if "%" in key or "+" in key:
        key = unquote_plus(key).strip()
    return is_ours(key)


def read(gray: str) -> Members:
    """What gray members say. What cannot be used is ignored and named in ``faults``; a doubled release is nobody's.

    Args:
        gray: Text of our members, as ``separate`` gives it.
    """
    return _read_cached(gray) if len(gray) <= _CACHED_LENGTH else _read(gray)


def _read(gray: str) -> Members:
    faults: dict[str, None] = {}
    read: dict[str, str | None] = {}
    for member in gray.split(","):
        key, value, fault = _key_and_value(member)
        if key and key in read:
            fault = "doubled"
        if fault:
            faults[fault] = None
        if key:
            read[key] = None if fault else value
    revision = read.pop(REVISION_KEY, None)
    signature = read.pop(SIGNATURE_KEY, None)
    versions = [(key.removeprefix(RELEASE_PREFIX), value) for key, value in read.items() if value is not None]
    if len(versions) > MAX_CARRIED:
        faults["too-many"] = None
    return Members(tuple(versions[:MAX_CARRIED]), revision, signature, tuple(faults))


_read_cached = lru_cache(_CACHED_TEXTS)(_read)


def _key_and_value(member: str) -> tuple[str, str, str | None]:
    """Key (empty where it is none of ours), value, and what is wrong with the member."""
    key, equals, value = (part.strip(_OWS) for part in member.partition("="))
    fault = None if equals and ";" not in member else "malformed"
    key = key.partition(";")[0].rstrip(_OWS)
    if key == REVISION_KEY:
        return key, value, fault or (None if _REVISION.fullmatch(value) else "bad-revision")
    if key == SIGNATURE_KEY:
        return key, value, fault or (None if value else "malformed")
    if not key.startswith(RELEASE_PREFIX):
        return "", "", "malformed" if member.strip(_OWS) else None
    if not is_release(key[len(RELEASE_PREFIX) :]):
        return "", "", fault or "bad-release"
    return key, value, fault or (None if is_version(value) else "bad-version")


def compose(gray: str, application: str, *, limit: int = MAX_BYTES) -> str:
    """One header value, ours first.

    Over 64 members or the limit (W3C Baggage, §3.3.2) whole members of the application go, from the end; ours stay.

    Args:
        limit: Bytes.
    """
    text = f"{gray},{application}" if gray and application else gray or application
    if len(text) <= limit and text.count(",") < MAX_MEMBERS:
        return text
    kept = [member for member in gray.split(",") if member]
    size = len(gray)
    for member in application.split(","):
        if not member.strip(_OWS):
            continue
        size += len(member) + (1 if size else 0)
        if len(kept) >= MAX_MEMBERS or size > limit:
            break
        kept.append(member)
    return ",".join(kept)
