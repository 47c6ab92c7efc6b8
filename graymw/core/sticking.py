"""Where the bucket key of a release comes from, step by step: for explaining, and where the fast path failed."""

from __future__ import annotations

import re
from typing import Final

from graymw.core.facts import RequestFacts
from graymw.core.lookup import fact_reader
from graymw.core.model import Fact, StickyKey

GRAY_ID: Final = Fact("cookie", "gray_id")
valid_gray_id: Final = re.compile(r"[A-Za-z0-9_-]{8,128}", re.ASCII).fullmatch
"""Match of a ``gray_id`` that graymw could have issued; any other counts as absent."""


def present_key(sticky: tuple[StickyKey, ...], facts: RequestFacts) -> tuple[Fact, str] | None:
    """First fact of ``sticky`` that the request has, with its text. An empty text is no key."""
    for key in sticky:
        value = fact_reader(key.fact)(facts)
        if value and (key.fact != GRAY_ID or valid_gray_id(value)):
            return key.fact, value
    return None


def issues(sticky: tuple[StickyKey, ...]) -> bool:
    """Whether a request without any key is given one as a cookie."""
    return any(key.issue for key in sticky)
