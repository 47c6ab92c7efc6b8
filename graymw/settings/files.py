"""Settings files and ``.env``, read by Dynaconf. The only module that imports it (some 200 ms).

Used in isolation: our object neither sees the ``*_FOR_DYNACONF`` variables, hooks and includes that configure a
Dynaconf of the application, nor touches ``os.environ`` or Dynaconf's own defaults. A file's values are taken from
Dynaconf's loader before they are cast, so text stays text and is never evaluated: ``@format``, ``@jinja`` and their
kind are plain characters here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dynaconf.base import Settings as DynaconfSettings
from dynaconf.loaders import json_loader, toml_loader, yaml_loader
from dynaconf.vendor.dotenv import dotenv_values

from graymw.errors import Problem, SettingsError

_LOADERS: Final = {".toml": toml_loader, ".yaml": yaml_loader, ".yml": yaml_loader, ".json": json_loader}
_LINE: Final = re.compile(r"\bline (\d+)")
_OPTIONS: Final[Mapping[str, object]] = {
    "AUTO_CAST_FOR_DYNACONF": False,
    "ENVIRONMENTS_FOR_DYNACONF": False,
    "COMMENTJSON_ENABLED_FOR_DYNACONF": False,
    "YAML_LOADER_FOR_DYNACONF": "safe_load",
    "ENCODING_FOR_DYNACONF": "utf-8",
}


class _IsolatedSettings(DynaconfSettings):  # type: ignore[misc,unused-ignore]
    """A Dynaconf object that reads the one file it is given and nothing else."""

    def execute_loaders(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing is loaded on creation."""


def read_table(path: Path) -> dict[str, object]:
    """Values of a settings file by upper-case name, typed as the format has them.

    Raises:
        SettingsError: With one problem that names the file, and the line where known.
    """
    loader = _LOADERS.get(path.suffix.lower())
    if loader is None:
        raise _refused(path, "settings cannot be read from this kind of file", "write a .toml, .yaml or .json file")
    table: dict[str, object] = {}

    def take(data: Mapping[str, object]) -> dict[str, object]:
        table.update(data)
        return {}

    store = _IsolatedSettings(**_OPTIONS, filter_strategy=take)
    try:
        path.read_bytes()  # the loader would pass over an unreadable file in silence
        loader.load(store, env="DEFAULT", filename=str(path), silent=False)
    except OSError as error:
        raise _unreadable(path, error) from error
    except (AttributeError, TypeError) as error:
        raise _refused(path, "the file is no table", "write one setting per line, such as rules: x.yaml") from error
    except Exception as error:  # each format's parser raises its own kind
        raise _refused(path, f"malformed: {_told(error)}", "mend the syntax", _line(error)) from error
    return table


def read_dotenv(path: Path) -> dict[str, str]:
    """Variables of a ``.env`` file as they are written; nothing is interpolated, nothing exported."""
    try:
        values: Mapping[str, str | None] = dotenv_values(path, interpolate=False)  # type: ignore[no-untyped-call,unused-ignore]
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise _refused(path, f"malformed: {_told(error)}", "save it as UTF-8") from error
    return {key: value for key, value in values.items() if value is not None}


def _refused(path: Path, message: str, mend: str, line: int | None = None) -> SettingsError:
    return SettingsError([Problem(str(path), message, mend, line)])


def _unreadable(path: Path, error: OSError) -> SettingsError:
    return _refused(path, f"it cannot be read: {error.strerror or error}", "mend its permissions or name another file")


def _told(error: Exception) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())


def _line(error: Exception) -> int | None:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    line = getattr(error, "lineno", None)
    if isinstance(line, int):
        return line
    match = _LINE.search(str(error))
    return int(match[1]) if match else None
