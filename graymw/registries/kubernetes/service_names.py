"""What a Service's name says where there is one Service for each version, such as ``orders-v2``."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PLACE: Final = re.compile(r"\{(?P<name>[a-z]+)(?::(?P<words>[^{}]*))?\}")
_LITERAL: Final = re.compile(r"[a-z0-9-]*")
_WORDS: Final = re.compile(r"[a-z0-9-]+(\|[a-z0-9-]+)*")
_NUMBERED: Final = r"v?[0-9][a-z0-9]*"
"""A version where the pattern names none: ``v2``, ``2``, ``v2beta1``. Not ``api``: that is part of a service's name."""


class Named(NamedTuple):
    """What a name says."""

    service: str
    version: str


class NamePattern:
    """How Services of one version are called.

    Args:
        written: Such as ``{service}-{version}``, where a version is numbered, or ``{service}-{version:blue|green}``.

    Raises:
        ValueError: It names not both, or cannot be a Service's name.
    """

    def __init__(self, written: str) -> None:
        self.written = written
        places = list(_PLACE.finditer(written))
        if sorted(place["name"] for place in places) != ["service", "version"]:
            raise ValueError("it needs {service} and {version}, each once")
        pattern, end = "", 0
        for place in places:
            pattern += self._literal(written[end : place.start()]) + self._group(place)
            end = place.end()
        self._shape = re.compile(pattern + self._literal(written[end:]))

    @staticmethod
    def _literal(text: str) -> str:
        if not _LITERAL.fullmatch(text):
            raise ValueError(f"{text!r} cannot stand in the name of a Service")
        return re.escape(text)

    @staticmethod
    def _group(place: re.Match[str]) -> str:
        words = place["words"]
        if place["name"] == "service":
            if words is not None:
                raise ValueError("only {version:…} takes words")
            return "(?P<service>[a-z0-9-]+)"
        if words is None:
            return f"(?P<version>{_NUMBERED})"
        if not _WORDS.fullmatch(words):
            raise ValueError(f"{words!r} are no versions")
        return f"(?P<version>{words})"

    def read(self, name: str) -> Named | None:
        """Service and version of a name; None where it tells no version."""
        found = self._shape.fullmatch(name)
        return Named(found["service"], found["version"]) if found else None

    def __repr__(self) -> str:
        return f"NamePattern({self.written!r})"
