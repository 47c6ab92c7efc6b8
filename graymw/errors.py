"""Everything graymw raises on purpose.

::

    GrayError
    ├── RulesError              the rule document was refused; carries every Problem
    ├── SettingsError           a setting was refused; carries every Problem
    ├── SourceError             a rule source or registry cannot be read or written
    │   └── ConflictError       somebody else wrote first; nothing was changed
    ├── GrayUnavailableError    no instance may take this call (``fallback: refuse``)
    └── MissingExtraError       an optional library is absent; names the pip command

Each class has a stable ``code`` for logs and machines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "ConflictError",
    "GrayError",
    "GrayUnavailableError",
    "MissingExtraError",
    "Problem",
    "RulesError",
    "SettingsError",
    "SourceError",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a document or a setting, told so that a person can mend it.

    Attributes:
        path: Where it stands, such as ``releases.checkout.rules[2].split.v2``.
        message: What is wrong, one sentence without a full stop.
        mend: What to write instead, one sentence without a full stop.
        line: Line in the text, from 1, where known.
        severity: ``error`` refuses the document, ``warning`` does not.
    """

    path: str
    message: str
    mend: str
    line: int | None = None
    severity: str = "error"

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.path or 'document'}: {self.message}; {self.mend}"


class GrayError(Exception):
    """Base of all errors of graymw."""

    code = "gray"


class _ProblemsError(GrayError):
    subject = "document"

    def __init__(self, problems: Iterable[Problem], *, origin: str = "") -> None:
        self.problems = tuple(problems)
        self.origin = origin
        head = f"{origin or self.subject}: {len(self.problems)} problem(s)"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


class RulesError(_ProblemsError):
    """A rule document was refused. ``problems`` holds every fault found, in the order of the text."""

    code = "rules"
    subject = "rule document"


class SettingsError(_ProblemsError):
    """One or more settings were refused. ``problems`` holds every fault found."""

    code = "settings"
    subject = "settings"


class SourceError(GrayError):
    """A rule source or a registry cannot be read or written."""

    code = "source"


class ConflictError(SourceError):
    """A write was refused because somebody else has written since the document was read."""

    code = "conflict"


class GrayUnavailableError(GrayError):
    """No instance may take a call: none of the decided version, and the release says ``fallback: refuse``.

    graymw's own middleware answers 503 when this leaves the application.
    """

    code = "unavailable"

    def __init__(self, service: str, version: str | None, release: str | None = None) -> None:
        self.service = service
        self.version = version
        self.release = release
        wanted = f"version {version}" if version else "any version"
        super().__init__(f"no instance of service {service!r} with {wanted} may take this call")


class MissingExtraError(GrayError, ImportError):
    """An optional library is not installed."""

    code = "missing-extra"

    def __init__(self, library: str, extra: str) -> None:
        self.library = library
        self.extra = extra
        super().__init__(f"{library} is not installed: pip install 'graymw[{extra}]'")
