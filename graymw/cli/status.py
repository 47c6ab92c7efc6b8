"""``graymw status``: settings, rules and running processes, as far as this machine tells."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated, Final

import typer

from graymw.cli import terminal
from graymw.cli.options import JsonOption
from graymw.cli.outcome import FINE, PROBLEM
from graymw.cli.surroundings import Surroundings, look_around
from graymw.core.instances import Instance
from graymw.runtime.process_status import ProcessStatus
from graymw.runtime.registration import REVISION_KEY

_ALWAYS_SHOWN: Final = ("GRAYMW_SERVICE", "GRAYMW_VERSION")
_ORDINARY: Final = ("rules.loaded",)


def command(
    everything: Annotated[bool, typer.Option("--all", help="Show the settings that are left to their default too.")] = (
        False
    ),
    as_json: JsonOption = False,
) -> int:
    """Show what graymw does here: the settings in force, the rules, the processes of this machine.

    Exit code 1 where there is a problem: refused settings or rules, a process that does not have the present ones.
    """
    found = look_around(now=time.time())
    if as_json:
        terminal.write_json(_as_json(found))
    else:
        _tell(found, everything=everything)
    return PROBLEM if found.problems else FINE


def _tell(found: Surroundings, *, everything: bool) -> None:
    console = terminal.console()
    table = terminal.table("setting", "value", "from")
    for setting in found.settings:
        if everything or setting.origin or setting.name in _ALWAYS_SHOWN:
            table.add_row(*map(terminal.text, (setting.name, setting.value, setting.origin or "default")))
    if table.rows:
        console.print(table)
    for line in _rules(found):
        console.print(terminal.text(line), soft_wrap=True)
    if found.processes:
        _print_rows(
            ("process", "service", "version", "revision", "age", "rules from"),
            (_row(process, found.now) for process in found.processes),
        )
    else:
        console.print(terminal.text("no process with graymw runs here"))
    if found.fleet:
        console.print(terminal.text(f"fleet, as {found.registry} knows it:"), soft_wrap=True)
        _print_rows(("instance", "service", "version", "zone", "revision"), map(_instance_row, found.fleet))
    for process in found.processes:
        unusual = [f"{name} {count}" for name, count in process.counters.items() if name not in _ORDINARY]
        if unusual:
            console.print(terminal.text(f"process {process.pid} counted: {', '.join(unusual)}"), soft_wrap=True)
    for problem in found.problems:
        console.print(terminal.text(f"problem: {problem}"), style="red", soft_wrap=True)


def _print_rows(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    table = terminal.table(*columns)
    for row in rows:
        table.add_row(*map(terminal.text, row))
    terminal.console().print(table)


def _rules(found: Surroundings) -> list[str]:
    if not found.source:
        lines = ["rules: none"]
    elif found.revision:
        lines = [f"rules: {found.source}, revision {found.revision}"]
    else:
        lines = [f"rules: {found.source}, which holds no good document"]
    if found.copy_saved_at is not None:
        lines.append(f"copy on disk: revision {found.copy_revision}, taken {age(found.now - found.copy_saved_at)} ago")
    return [*lines, f"state is kept in {found.state_dir or 'no place'}"]


def _row(process: ProcessStatus, now: float) -> tuple[str, ...]:
    return (
        str(process.pid),
        process.service,
        process.version or "none",
        process.revision or "none",
        "" if process.loaded_at is None else age(now - process.loaded_at),
        f"{process.source or 'none'}{' (copy on disk)' if process.from_disk else ''}",
    )


def _instance_row(instance: Instance) -> tuple[str, ...]:
    revision = instance.metadata.get(REVISION_KEY, "unknown")
    return (instance.authority, instance.service, instance.version or "none", instance.zone or "none", revision)


def age(seconds: float) -> str:
    """A time span in its largest unit: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(max(0.0, seconds))} s"


def _as_json(found: Surroundings) -> dict[str, object]:
    return {
        "ok": not found.problems,
        "settings": {setting.name: {"value": setting.value, "from": setting.origin} for setting in found.settings},
        "rules": {
            "source": found.source or None,
            "revision": found.revision or None,
            "releases": list(found.releases),
            "copy": None
            if found.copy_saved_at is None
            else {"revision": found.copy_revision, "saved_at": found.copy_saved_at},
        },
        "state_dir": found.state_dir or None,
        "processes": [
            {
                "pid": process.pid,
                "service": process.service,
                "version": process.version or None,
                "revision": process.revision or None,
                "source": process.source or None,
                "from_disk": process.from_disk,
                "age_seconds": None if process.loaded_at is None else max(0.0, found.now - process.loaded_at),
                "last_error": process.last_error or None,
                "registry": process.registry or None,
                "registry_error": process.registry_error or None,
                "address": process.address or None,
                "settings_error": process.settings_error or None,
                "restart_needed": process.restart_needed.split(", ") if process.restart_needed else [],
                "counters": dict(process.counters),
            }
            for process in found.processes
        ],
        "registry": found.registry or None,
        "fleet": [
            {
                "instance": instance.authority,
                "service": instance.service,
                "version": instance.version or None,
                "zone": instance.zone or None,
                "weight": instance.weight,
                "revision": instance.metadata.get(REVISION_KEY),
            }
            for instance in found.fleet
        ],
        "problems": list(found.problems),
    }
