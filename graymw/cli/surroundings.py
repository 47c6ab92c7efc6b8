"""What can be seen of graymw from here: settings and where they come from, rules, the processes of this machine."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graymw.cli import terminal
from graymw.cli.fleet import fleet
from graymw.cli.rules_here import fetch
from graymw.core.document import examine, format_of
from graymw.core.instances import Instance
from graymw.errors import GrayError, RulesError, SettingsError, SourceError
from graymw.registries.choosing import STATIC, registrar_for, registry_for
from graymw.runtime.last_good import LastGood
from graymw.runtime.ports import RuleSource
from graymw.runtime.process_status import ProcessStatus, read_all
from graymw.runtime.registration import REVISION_KEY
from graymw.runtime.state_dir import StateDir, open_state_dir
from graymw.settings.access import Access
from graymw.settings.identity import UNKNOWN_SERVICE
from graymw.settings.loader import load_settings
from graymw.settings.origins import setting_origins
from graymw.settings.redaction import redacted
from graymw.settings.schema import NO_SETTINGS, PREFIX, Settings
from graymw.sources import source_for

_FROM_RESOURCE = "OpenTelemetry's resource"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting in force.

    Attributes:
        name: As a variable, ``GRAYMW_SERVICE``.
        value: For people; secrets are not in it.
        origin: Where it was set; empty for a default.
    """

    name: str
    value: str
    origin: str


@dataclass(slots=True)
class Surroundings:
    """What was found.

    Attributes:
        now: When, in seconds since the Unix epoch.
        source: Where the rules come from, without credentials; empty without.
        revision: Of the document that the source holds; empty where there is no good one.
        copy_saved_at: When the copy on disk was taken from the source; None without a copy.
        registry: Where instances are looked up; empty for the table of the settings.
        fleet: Every instance that the registry knows.
        problems: Everything that needs somebody's attention, a sentence each.
    """

    now: float
    settings: list[Setting] = dataclasses.field(default_factory=list)
    source: str = ""
    revision: str = ""
    releases: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    copy_revision: str = ""
    copy_saved_at: float | None = None
    state_dir: str = ""
    processes: list[ProcessStatus] = dataclasses.field(default_factory=list)
    registry: str = ""
    fleet: tuple[Instance, ...] = ()
    problems: list[str] = dataclasses.field(default_factory=list)


def look_around(*, now: float) -> Surroundings:
    """Look at settings, rules and processes. What cannot be read is a problem, never an error."""
    found = Surroundings(now)
    settings = _settings(found)
    source = _rules(found, settings)
    _fleet(found, settings)
    state = open_state_dir(settings.state_dir)
    if state is None:
        found.problems.append("no state can be kept; set GRAYMW_STATE_DIR to a directory of this user's own")
        return found
    found.state_dir = str(state.path)
    if source is not None:
        _copy(found, LastGood(state, service=settings.service, source=source.name))
    _processes(found, state)
    return found


def _settings(found: Surroundings) -> Settings:
    try:
        settings, origins = load_settings(), setting_origins()
    except SettingsError as error:
        found.problems += [terminal.problem_line(problem, error.origin) for problem in error.problems]
        return Settings(state_dir=os.environ.get(f"{PREFIX}STATE_DIR", ""))  # processes may run by their last good ones
    found.problems += [terminal.problem_line(problem) for problem in settings.warnings]
    for entry in dataclasses.fields(settings):
        if entry.name in NO_SETTINGS:
            continue
        name, value = entry.name.upper(), getattr(settings, entry.name)
        resource = entry.name in ("service", "version") and value not in ("", UNKNOWN_SERVICE)
        origin = origins.get(name) or (_FROM_RESOURCE if resource else "")
        found.settings.append(Setting(PREFIX + name, shown(entry.name, value), origin))
    return settings


def shown(name: str, value: object) -> str:
    """Value of a setting for people."""
    if name == "secret" and isinstance(value, tuple):
        return f"{len(value)} hidden" if value else ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Access):
        return ", ".join(f"{entry} hidden" for entry in value.told)
    if isinstance(value, Mapping):
        return _table(name, value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else redacted(str(value))


def _table(name: str, table: Mapping[str, Any]) -> str:
    if name == "services":
        return "; ".join(f"{service}: {', '.join(map(_instance, listed))}" for service, listed in table.items())
    return ", ".join(f"{key}={value}" for key, value in table.items())


def _instance(instance: Instance) -> str:
    scheme = "https" if instance.tls else "http"
    return f"{instance.version or 'unversioned'} {scheme}://{instance.authority}"


def _rules(found: Surroundings, settings: Settings) -> RuleSource | None:
    """Note what the source of the rules holds now."""
    source = None
    try:
        registry_for(settings)
        registrar_for(settings)
        source = source_for(settings)
        if source is None:
            return None
        found.source = source.name
        fetched = fetch(source)
    except (SettingsError, RulesError) as error:
        found.problems += [terminal.problem_line(problem, error.origin) for problem in error.problems]
        return source
    except SourceError as error:
        found.problems.append(str(error))
        return source
    if fetched.text is None:
        found.problems.append(fetched.absence)
        return source
    examined = examine(fetched.text, format=fetched.format or format_of(fetched.origin))
    errors = [problem for problem in examined.problems if problem.severity == "error"]
    found.problems += [terminal.problem_line(problem, fetched.origin) for problem in errors]
    if examined.document is not None:
        found.revision = examined.document.revision
        found.releases = tuple(release.name for release in examined.document.releases)
        found.services = tuple(name for release in examined.document.releases for name in release.services or ())
    return source


def _fleet(found: Surroundings, settings: Settings) -> None:
    """Instances of the whole fleet, where a registry knows them."""
    if settings.registry == STATIC:
        return
    try:
        registry = registry_for(settings)
        found.registry = registry.name
        found.fleet = fleet(registry, {*settings.discover, settings.service, *found.services})
    except SettingsError:
        return  # told with the rules
    except GrayError as error:
        found.problems.append(f"the fleet cannot be seen: {error}")
        return
    revisions = Counter(
        instance.metadata[REVISION_KEY] for instance in found.fleet if REVISION_KEY in instance.metadata
    )
    if len(revisions) > 1:
        told = ", ".join(f"{revision} in {count}" for revision, count in revisions.most_common())
        found.problems.append(f"{len(revisions)} revisions among the instances in {found.registry}: {told}")


def _copy(found: Surroundings, last_good: LastGood) -> None:
    kept = last_good.load()
    if kept is not None and kept.fetched.text is not None:
        document = examine(kept.fetched.text, format=kept.fetched.format).document
        found.copy_revision = document.revision if document is not None else "unreadable"
        found.copy_saved_at = kept.saved_at


def _processes(found: Surroundings, state: StateDir) -> None:
    try:
        found.processes = read_all(state)
    except (OSError, GrayError) as error:
        found.problems.append(f"the status files cannot be read: {error}")
        return
    for process in found.processes:
        if process.last_error:
            first, *_ = process.last_error.splitlines()
            found.problems.append(f"{_named(process)} keeps revision {process.revision or 'none'}: {first}")
        elif process.source and process.source == found.source and found.revision not in ("", process.revision):
            found.problems.append(
                f"{_named(process)} has revision {process.revision or 'none'} in force, the source has {found.revision}"
            )
        if process.registry_error:
            told = " ".join(process.registry_error.split())
            found.problems.append(f"{_named(process)} has trouble with its registry, {process.registry}: {told}")
        if process.settings_error:
            told = " ".join(process.settings_error.split())
            found.problems.append(f"{_named(process)} keeps its last good settings: {told}")
        if process.restart_needed:
            found.problems.append(f"{_named(process)} needs a restart to take {process.restart_needed}")
    found.problems += _disagreements(found.processes)


def _disagreements(processes: Iterable[ProcessStatus]) -> list[str]:
    """Revisions that differ among processes that take their rules from the same source, or are the same service."""
    groups: dict[str, dict[str, list[str]]] = {}
    for process in processes:
        for group in (f"source {process.source}" if process.source else "", f"service {process.service}"):
            if group:
                groups.setdefault(group, {}).setdefault(process.revision or "none", []).append(_named(process))
    told = [
        f"{len(revisions)} revisions in the fleet, of {group}: "
        + "; ".join(f"{revision} in {', '.join(names)}" for revision, names in revisions.items())
        for group, revisions in groups.items()
        if len(revisions) > 1
    ]
    by_source = [line for line in told if ", of source" in line]
    return by_source or told


def _named(process: ProcessStatus) -> str:
    return f"process {process.pid} ({' '.join(part for part in (process.service, process.version) if part)})"
