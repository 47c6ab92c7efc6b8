"""Signed decisions: proof that whoever wrote the gray members holds the key, for callers that trust no address.

``gray-sig=EXPIRY.MAC``: EXPIRY in seconds since the Unix epoch; MAC is HMAC-SHA-256 (RFC 2104) in base64url without
padding (RFC 4648, §5) over this text in UTF-8, releases sorted by name, for what forwards baggage may reorder it::

    graymw/gray-sig/1
    EXPIRY
    REVISION
    RELEASE=VERSION
    RELEASE=VERSION
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from graymw.core.carrying.wire import Members, read

SignatureFault: TypeAlias = Literal["absent", "malformed", "expired", "too-far", "forged"]

MAX_AHEAD: Final = 24 * 3_600
"""Seconds by which an expiry may lie in the future; more is a mistake or a key that leaked for good."""

MAX_TTL: Final = MAX_AHEAD * 2 // 3
"""Seconds for which a ``Signer`` may sign, so that receivers never find its expiry too far."""

_DOMAIN: Final = "graymw/gray-sig/1"
_SIGNATURE: Final = re.compile(r"([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})")
_REMEMBERED: Final = 1_024


def sign(gray: str, expiry: int, key: bytes) -> str:
    """Signature of gray members, as the value of ``gray-sig``.

    Args:
        gray: Text of our members; what ``wire.read`` ignores is not signed.
        expiry: Until when it holds, seconds since the Unix epoch, above 0.
        key: Shared secret, any bytes.

    Raises:
        ValueError: The key is empty: anybody could forge its signatures.
    """
    if not key:
        raise ValueError("the signing key is empty; give a long random one")
    members = read(gray)
    return f"{expiry}.{_mac(members.versions, members.revision, str(expiry), key)}"


def verify(
    members: Members, now: float, keys: Sequence[bytes], *, max_ahead: float = MAX_AHEAD
) -> SignatureFault | None:
    """What is wrong with the signature of some gray members; None: they are genuine and in time.

    Args:
        members: As ``wire.read`` gives them.
        now: Seconds since the Unix epoch.
        keys: Any of them may have signed; empty keys never have.
        max_ahead: Seconds by which the expiry may lie in the future.
    """
    if members.signature is None:
        return "absent"
    found = _SIGNATURE.fullmatch(members.signature)
    if found is None:
        return "malformed"
    expiry = int(found[1])
    if expiry <= now:
        return "expired"
    if expiry > now + max_ahead:
        return "too-far"
    if not _is_genuine(members.versions, members.revision, found[1], found[2], tuple(keys)):
        return "forged"
    return None


@lru_cache(_REMEMBERED)
def _is_genuine(
    versions: tuple[tuple[str, str], ...], revision: str | None, expiry: str, mac: str, keys: tuple[bytes, ...]
) -> bool:
    """Whether one of the keys made this; remembered, for a caller sends the same one until it renews it."""
    return any(hmac.compare_digest(_mac(versions, revision, expiry, key), mac) for key in keys if key)


def _mac(versions: Iterable[tuple[str, str]], revision: str | None, expiry: str, key: bytes) -> str:
    lines = [_DOMAIN, expiry, revision or "", *(f"{release}={version}" for release, version in sorted(versions))]
    digest = hmac.digest(key, "\n".join(lines).encode(), "sha256")
    return urlsafe_b64encode(digest)[:-1].decode()


class Signer:
    """Signs what this process sends; the same members get the same signature for a while.

    Args:
        keys: The first signs; the others, for rotation, only verify.
        ttl: Seconds for which a signature holds at least, from 1 to ``MAX_TTL``; at most half as long again.

    Raises:
        ValueError: No key or an empty one, or ``ttl`` is out of range.
    """

    __slots__ = ("_key", "_signatures", "_slot_seconds", "ttl")

    def __init__(self, keys: Sequence[bytes], ttl: int) -> None:
        if not keys or not all(keys):
            raise ValueError("signing needs keys, none of them empty; set GRAYMW_SECRET to a long random string")
        if not 1 <= ttl <= MAX_TTL:
            raise ValueError(f"a signature cannot hold {ttl} seconds; give 1 to {MAX_TTL}")
        self.ttl = ttl
        self._key = keys[0]
        self._slot_seconds = max(1, ttl // 2)
        self._signatures: tuple[int, dict[str, str]] = (-1, {})

    def signature(self, gray: str, now: float) -> str:
        """Value of ``gray-sig`` for gray members sent now.

        Args:
            gray: Text of our members.
            now: Seconds since the Unix epoch.
        """
        slot = int(now) // self._slot_seconds
        current, signatures = self._signatures
        if current != slot or len(signatures) > _REMEMBERED:
            signatures = {}
            self._signatures = (slot, signatures)
        known = signatures.get(gray)
        if known is None:
            known = signatures[gray] = sign(gray, (slot + 1) * self._slot_seconds + self.ttl, self._key)
        return known
