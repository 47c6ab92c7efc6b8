"""Where settings come from: variables of the environment, ``.env``, settings files and secrets files.

Weakest first: ``graymw.toml|yaml|yml`` in the working directory or the files that ``GRAYMW_SETTINGS`` names, each
followed by its ``.local.`` twin, then ``.secrets.toml|yaml|yml``, then ``.env``, then the environment.

Dynaconf reads the files. It is not asked for variables: it would read each as TOML (``1.10`` becomes 1.1, ``1e5``
100000.0), so their text is taken as it stands. Without a file it is not even imported, which saves the start 200 ms.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from graymw.errors import Problem, SettingsError
from graymw.settings import values
from graymw.settings.identity import RESOURCE_VARIABLES
from graymw.settings.place import SettingsPlace
from graymw.settings.routing_values import decoded
from graymw.settings.schema import PREFIX, Settings

log = logging.getLogger("graymw.settings")

_NAMES: Final = ("graymw.toml", "graymw.yaml", "graymw.yml")
_SECRETS: Final = (".secrets.toml", ".secrets.yaml", ".secrets.yml")
_FILES_VARIABLE: Final = PREFIX + "SETTINGS"
_NESTED: Final = PREFIX + "SERVICES__"


def load_settings(*, environ: Mapping[str, str] | None = None, directory: str | Path | None = None) -> Settings:
    """Read and validate all settings anew. Changes neither the environment nor a Dynaconf of the application.

    Args:
        environ: The environment; default: that of the process.
        directory: Where files are looked for; default: the working directory.

    Raises:
        SettingsError: With every problem found.
    """
    folder = Path.cwd() if directory is None else Path(directory).absolute()
    variables = dotenv_variables(folder / ".env") | dict(os.environ if environ is None else environ)
    tables = file_tables(variables, folder)
    settings = Settings.from_mapping(_with_variables(_merged(tables), variables), environ=variables)
    for warning in settings.warnings:
        log.warning("%s", warning)
    own = {key: value for key, value in variables.items() if key.startswith(PREFIX) or key in RESOURCE_VARIABLES}
    files, filled = tuple(path for path, _ in tables), frozenset(path for path, table in tables if table)
    return dataclasses.replace(settings, place=SettingsPlace(folder, own, files, filled))


def settings_at(place: SettingsPlace) -> Settings:
    """All settings as the files have them now, under the variables of then.

    Raises:
        SettingsError: A file is malformed, gone or emptied, or a setting has faults; every one is told.
    """
    problems = [Problem(str(path), "the settings file is gone", "put it back") for path in place.files if _gone(path)]
    if problems:
        raise SettingsError(problems)
    tables = file_tables(place.variables, place.directory)
    # Defaults in the place of all that a file said, trust included, are more likely a slip than somebody's wish.
    emptied = [path for path, table in tables if not table and path in place.filled]
    if emptied:
        mend = "put them back, or write a default out, such as trust: private"
        raise SettingsError(
            [Problem(str(path), "the settings file has no settings any more", mend) for path in emptied]
        )
    return Settings.from_mapping(_with_variables(_merged(tables), place.variables), environ=place.variables)


def _gone(path: Path) -> bool:
    return not path.is_file()


def settings_candidates(place: SettingsPlace) -> tuple[Path, ...]:
    """Files that would be read if they were there."""
    named = _named_files(place.variables, place.directory) or [place.directory / name for name in _NAMES]
    return (*_each_with_local(named), *(place.directory / name for name in _SECRETS))


def _merged(tables: Iterable[tuple[Path, Mapping[str, object]]]) -> dict[str, object]:
    merged: dict[str, object] = {}
    for _, table in tables:
        merged |= table
    return merged


def settings_files(variables: Mapping[str, str], directory: Path) -> tuple[Path, ...]:
    """Settings files, weakest first.

    Raises:
        SettingsError: ``GRAYMW_SETTINGS`` names one that is not there.
    """
    paths = _named_files(variables, directory)
    problems = [
        Problem(_FILES_VARIABLE, f"there is no file {path}", "name a .toml, .yaml or .json file that exists")
        for path in paths
        if not path.is_file()
    ]
    if problems:
        raise SettingsError(problems)
    read = paths or _present(directory, _NAMES)
    return tuple(path for path in _each_with_local(read) if path in read or path.is_file())


def secrets_files(directory: Path) -> tuple[Path, ...]:
    """Secrets files, weakest first. They may be the application's, so only what is marked as graymw's is read."""
    return tuple(_present(directory, _SECRETS))


def _present(directory: Path, names: Iterable[str]) -> list[Path]:
    return [path for name in names if (path := directory / name).is_file()]


def _named_files(variables: Mapping[str, str], directory: Path) -> list[Path]:
    """The files that ``GRAYMW_SETTINGS`` names."""
    named = (part.strip() for part in variables.get(_FILES_VARIABLE, "").split(","))
    return [directory / Path(name).expanduser() for name in named if name]


def _each_with_local(paths: Iterable[Path]) -> Iterator[Path]:
    """Each path, followed by that of its ``.local.`` twin."""
    for path in paths:
        yield path
        yield path.with_name(f"{path.stem}.local{path.suffix}")


def dotenv_variables(path: Path) -> dict[str, str]:
    """Variables of a ``.env`` that speaks of graymw at all."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:  # the application's file in the first place, so not a reason to stop
        log.warning("%s is passed over: it cannot be read: %s", path, error.strerror or error)
        return {}
    if PREFIX.encode() not in content and b"OTEL_" not in content:
        return {}
    from graymw.settings.files import read_dotenv  # noqa: PLC0415

    return read_dotenv(path)


def file_tables(variables: Mapping[str, str], directory: Path) -> list[tuple[Path, dict[str, object]]]:
    """Each file and its settings by upper-case name without ``GRAYMW_``, weakest first.

    Raises:
        SettingsError: Files are malformed or missing; every one is told.
    """
    files, secrets = settings_files(variables, directory), secrets_files(directory)
    if not files and not secrets:
        return []
    from graymw.settings.files import read_table  # noqa: PLC0415

    tables: list[tuple[Path, dict[str, object]]] = []
    problems: list[Problem] = []
    for path in (*files, *secrets):
        try:
            read = read_table(path)
        except SettingsError as error:
            problems.extend(error.problems)
            continue
        own = _marked(read) if path in secrets else {name.removeprefix(PREFIX): read[name] for name in read}
        tables.append((path, own))
    if problems:
        raise SettingsError(problems)
    return tables


def _marked(read: Mapping[str, object]) -> dict[str, object]:
    """Settings of a shared file: those of its table ``graymw`` and those that begin with ``GRAYMW_``."""
    own = read.get("GRAYMW")
    table = {str(name).upper(): value for name, value in own.items()} if isinstance(own, Mapping) else {}
    return table | {name.removeprefix(PREFIX): read[name] for name in read if name.startswith(PREFIX)}


def _with_variables(table: Mapping[str, object], variables: Mapping[str, str]) -> dict[str, object]:
    """The table of the files under the variables of the environment; an empty variable leaves the file's value."""
    merged = dict(table)
    nested: dict[str, str] = {}
    for key, value in variables.items():
        if key.startswith(_NESTED):
            nested[key.removeprefix(_NESTED)] = value
        elif key.startswith(PREFIX) and key != _FILES_VARIABLE and value.strip():
            merged[key.removeprefix(PREFIX)] = value
    if nested:
        merged["SERVICES"] = _with_services(merged.get("SERVICES"), nested)
    return merged


def _with_services(written: object, nested: Mapping[str, str]) -> object:
    """The table of services with each ``GRAYMW_SERVICES__orders`` in the place of the service it names.

    A name typed in capitals only, as is the habit for variables, means the service in the table that differs in case
    alone, else the one in small letters.
    """
    try:
        table = decoded(written, example="{}") if written else {}
    except values.RefusedError:
        return written
    if not isinstance(table, Mapping):
        return written
    merged = dict(table)
    for typed, value in nested.items():
        same = [service for service in merged if str(service).lower() == typed.lower()]
        service = typed if typed in merged or not typed.isupper() else (same or [typed.lower()])[0]
        merged[service] = value
    return merged
