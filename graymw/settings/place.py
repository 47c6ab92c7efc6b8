"""Where the settings of a process were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, repr=False)
class SettingsPlace:
    """The files and variables that settings were read from, to look there again.

    Attributes:
        directory: Where settings files were looked for.
        variables: ``GRAYMW_*`` and OpenTelemetry's resource, of the environment and of ``.env``, as they were; they may
            hold secrets.
        files: What was read, weakest first.
        filled: Those of them that set anything.
    """

    directory: Path
    variables: Mapping[str, str]
    files: tuple[Path, ...]
    filled: frozenset[Path] = frozenset()

    def is_followed_like(self, other: SettingsPlace | None) -> bool:
        """Whether a process finds the same in both as long as it follows the files of one."""
        if other is None or not self.files or not other.files:
            return False
        return self.directory == other.directory and self.variables == other.variables

    def __repr__(self) -> str:
        return f"SettingsPlace({', '.join(map(str, self.files))})"
