"""Where each setting in force was set, for people who wonder why graymw behaves as it does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from graymw.settings import loader
from graymw.settings.schema import PREFIX

ENVIRONMENT: Final = "environment"


def setting_origins(*, environ: Mapping[str, str] | None = None, directory: str | Path | None = None) -> dict[str, str]:
    """Name of the file that each setting comes from, or ``environment``, by its name without ``GRAYMW_``.

    The strongest place counts, as in ``load_settings``; what is left to its default is not in it.

    Args:
        environ: The environment; default: that of the process.
        directory: Where files are looked for; default: the working directory.

    Raises:
        SettingsError: A settings file cannot be read.
    """
    folder = Path.cwd() if directory is None else Path(directory)
    environment = dict(os.environ if environ is None else environ)
    dotenv = loader.dotenv_variables(folder / ".env")
    origins: dict[str, str] = {}
    for path, table in loader.file_tables({**dotenv, **environment}, folder):
        shown = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
        origins |= dict.fromkeys((name for name, value in table.items() if value not in (None, "")), shown)
    origins |= dict.fromkeys(_named(dotenv), ".env")
    return origins | dict.fromkeys(_named(environment), ENVIRONMENT)


def _named(variables: Mapping[str, str]) -> Iterator[str]:
    for key, value in variables.items():
        if key.startswith(PREFIX) and value.strip():
            yield key.removeprefix(PREFIX).partition("__")[0]
