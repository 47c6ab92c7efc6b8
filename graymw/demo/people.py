"""The users of the demo: a small cast that shows each rule, and a crowd that fills the split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Final

from graymw import RequestFacts, bucket

RELEASE: Final = "checkout"
SHARE_BEFORE: Final = 1_000
"""Share of the canary at first, out of 10,000."""
SHARE_AFTER: Final = 5_000
BUCKETS: Final = 10_000

_PHONE: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/19.1 Mobile/15E148 Safari/604.1"
)
_LAPTOP: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
_CAST_REQUESTS: Final = 3


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who sends requests.

    Attributes:
        uid: User id, as the header ``x-user-id`` says it.
        says: What else the requests tell, for people; empty where nothing.
        requests: How many requests a round holds.
        in_cast: Whether they get a row of their own in what is printed.
    """

    uid: str
    says: str = ""
    tester: bool = False
    region: str = ""
    device: str = ""
    requests: int = 1
    in_cast: bool = False
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        headers = {"x-user-id": self.uid, "user-agent": _PHONE if self.device == "mobile" else _LAPTOP}
        if self.tester:
            headers["x-gray-version"] = "true"
        if self.region:
            headers["x-region"] = self.region
        object.__setattr__(self, "headers", headers)

    @property
    def facts(self) -> RequestFacts:
        """What rules may read of a request, worked out here and not by the services."""
        return RequestFacts(
            method="GET",
            path="/checkout",
            host="127.0.0.1",
            headers=self.headers,
            user=self.uid,
            region=self.region or None,
            device=self.device or "desktop",
            ip="127.0.0.1",
        )


def cast() -> list[User]:
    """Two users or more for every rule, and three whom only the split can put on v2: at once, later, not yet."""
    always = _in_buckets(0, SHARE_BEFORE, start=100)
    later = _in_buckets(SHARE_BEFORE, SHARE_AFTER, start=200)
    never = _in_buckets(SHARE_AFTER, BUCKETS, start=300)
    return [
        _shown("7", "x-gray-version: true", tester=True),
        _shown("8", "x-gray-version: true", tester=True),
        _shown("40"),
        _shown("1230"),
        _shown("21", "eu, mobile", region="eu", device="mobile"),
        _shown("22", "uk, mobile", region="uk", device="mobile"),
        _shown(next(never), "eu, desktop", region="eu", device="desktop"),
        _shown(next(never), "us, mobile", region="us", device="mobile"),
        _shown(next(always)),
        _shown(next(later)),
        _shown(next(never)),
        _shown("alice"),
    ]


def _shown(uid: str, says: str = "", *, tester: bool = False, region: str = "", device: str = "") -> User:
    return User(uid, says, tester, region, device, requests=_CAST_REQUESTS, in_cast=True)


def crowd(size: int) -> list[User]:
    """Users whom no rule before the split names."""
    return [User(uid) for uid in islice(_plain_uids(1_001), size)]


def joins_with_the_raise(start: int = 500_000) -> User:
    """Somebody whom the higher share puts on v2 and the lower one does not."""
    return User(next(_in_buckets(SHARE_BEFORE, SHARE_AFTER, start=start)))


def _in_buckets(low: int, high: int, *, start: int) -> Iterator[str]:
    return (uid for uid in _plain_uids(start) if low <= bucket(RELEASE, uid) < high)


def _plain_uids(start: int) -> Iterator[str]:
    return (str(uid) for uid in count(start) if uid % 10)


def total_requests(users: Sequence[User]) -> int:
    """How many requests a round of these users holds."""
    return sum(user.requests for user in users)
