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
        variables: ``GRAYMW_*`` of the environment and of ``.env``, as they were; they may hold secrets.
        files: What was read, weakest first.
    """

    directory: Path
    variables: Mapping[str, str]
    files: tuple[Path, ...]

    def __repr__(self) -> str:
        return f"SettingsPlace({', '.join(map(str, self.files))})"
