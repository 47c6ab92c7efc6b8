"""What releases, versions, services and rules may be called (contract, §2)."""

from __future__ import annotations

import re
from typing import Final, TypeGuard

RELEASE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}")
HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # token of RFC 9110, §5.6.2

MAX_TEXT: Final = 128
_NO_HOST: Final = frozenset(" /@?#\\[],<>\"'")
MAX_HOST: Final = 253  # RFC 1035, §2.3.4


def is_release(text: str) -> bool:
    """Whether a release may be called so."""
    return RELEASE.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Whether a version or an instance's label may be called so."""
    return VERSION.fullmatch(text) is not None


def is_service(text: str) -> bool:
    """Whether a service may be called so."""
    return SERVICE.fullmatch(text) is not None


def is_host(value: object) -> TypeGuard[str]:
    """Whether this may be a host's name or address: nothing in it ends a host in a URL, a header or a log."""
    return isinstance(value, str) and 0 < len(value) <= MAX_HOST and value.isprintable() and _NO_HOST.isdisjoint(value)


def is_header(text: str) -> bool:
    """Whether this is a header name."""
    return HEADER.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Whether this may be a rule's name or a seed: short, printable, no space at its ends."""
    return 0 < len(text) <= MAX_TEXT and text.isprintable() and text == text.strip()
