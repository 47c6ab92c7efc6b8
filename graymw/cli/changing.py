"""What the commands that change rules share: the store, the author, what is shown, and the consent."""

from __future__ import annotations

import asyncio
import getpass
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer

from graymw.cli import terminal
from graymw.cli.outcome import FINE, WrongUseError
from graymw.core.comparing import Comparison, compare
from graymw.core.document import format_of, format_of_text, parse
from graymw.core.facts import RequestFacts
from graymw.core.model import RuleDocument
from graymw.editing.publishing import Author, Difference, Published, publish
from graymw.editing.texts import Tree, edited
from graymw.errors import RulesError
from graymw.runtime.ports import RuleStore
from graymw.settings.loader import load_settings
from graymw.sources.storing import store_for

SAMPLE: Final = 10_000
"""Users for whom both documents decide, to tell who moves."""

T = TypeVar("T")

StoreOption: TypeAlias = Annotated[
    str | None, typer.Option("--rules", metavar="FILE|URL", help="Where the rules are; default: GRAYMW_RULES.")
]
WhyOption: TypeAlias = Annotated[str, typer.Option("--why", "-m", help="The reason, for the history.")]
WhoOption: TypeAlias = Annotated[str, typer.Option("--who", help="Who does it; default: this user at this host.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]
DryRunOption: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")]


@dataclass(frozen=True, slots=True)
class Way:
    """How a change is made: the options that all such commands have."""

    rules: str | None
    why: str
    who: str
    yes: bool
    dry_run: bool
    as_json: bool


def opened(rules: str | None) -> RuleStore:
    """The store of the rules.

    Args:
        rules: Path or URL; None: as the settings say.

    Raises:
        SettingsError: The settings were refused, or there is nothing that can be written to.
    """
    settings = load_settings()
    return store_for(settings if rules is None else replace(settings, rules=rules))


def run_with(store: RuleStore, work: Callable[[RuleStore], Any]) -> Any:
    """Do some work with a store, and close it."""

    async def run() -> Any:
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def change_tree(way: Way, what: str, edit: Callable[[Tree], object]) -> int:
    """Change the document in force by a change of its tree; comments and order stay."""
    return change_text(way, what, lambda text, format_: edited(_sound(text, format_), format_, edit))


def change_text(way: Way, what: str, make: Callable[[str, str | None], str]) -> int:
    """Change the document in force: shown, confirmed, written.

    Args:
        what: What is done, as the history tells it.
        make: From the text in force and its format to the new one.
    """
    if way.as_json and not (way.yes or way.dry_run):
        raise WrongUseError("--json asks nobody; add --yes, or --dry-run")
    store = opened(way.rules)
    author = Author(way.who or _this_user(), what, way.why)
    done: Published = run_with(store, lambda store: publish(store, author, make, lambda each: _consent(way, each)))
    if way.as_json:
        terminal.write_json(_as_json(store, done))
    elif done.difference is None:
        terminal.line(f"{store.name}: nothing to change")
    elif done.change is None:
        terminal.line("nothing was written")
    else:
        again = f" (made again after {done.conflicts} writes by others)" if done.conflicts else ""
        terminal.line(f"written: {store.name}, revision {done.change.revision}{again}")
    return FINE


def _sound(text: str, format_: str | None) -> str:
    """The text in force, where it is one that can be changed."""
    if not text.strip():
        raise WrongUseError("there is no rule document yet; put one there: graymw publish FILE")
    try:
        parse(text, format=format_)
    except RulesError as error:
        mend = "put a good one in its place: graymw publish FILE, or graymw rollback --to REVISION"
        raise RulesError(error.problems, origin=f"the document that is there ({mend})") from error
    return text


def _consent(way: Way, difference: Difference) -> bool:
    if not way.as_json:
        _show(difference)
    if way.dry_run or way.yes:
        return way.yes and not way.dry_run
    if not sys.stdin.isatty():
        raise WrongUseError("nothing was written: there is no terminal to ask at; add --yes")
    return typer.confirm("Write this?", default=False)


def _show(difference: Difference) -> None:
    console = terminal.console()
    styles = {"+": "green", "-": "red", "@": "dim"}
    for line in difference.lines[2:]:
        console.print(terminal.text(line), style=styles.get(line[:1], ""), soft_wrap=True)
    for problem in difference.warnings:
        terminal.line(terminal.problem_line(problem))
    if difference.before is not None:
        for line in moves_told(compared(difference.before, difference.after)):
            console.print(terminal.text(line), soft_wrap=True)


def compared(before: RuleDocument, after: RuleDocument) -> Comparison:
    """Both documents over users who have nothing but their number."""
    return compare(before, after, (RequestFacts(user=str(number)) for number in range(SAMPLE)), clock=time.time)


def moves_told(found: Comparison) -> list[str]:
    """A line for each move, and one where nobody moves."""
    lines = [
        f"{release.release}: {100 * move.share:.2f} % of plain users move from "
        f"{move.before or 'no release'} to {move.after or 'no release'}"
        for release in found.releases
        for move in release.moves
    ]
    return lines or ["no plain user moves (users with nothing but an id)"]


def _as_json(store: RuleStore, done: Published) -> dict[str, object]:
    difference = done.difference
    return {
        "rules": store.name,
        "written": done.change is not None,
        "changed": difference is not None,
        "revision": difference.after.revision if difference is not None else None,
        "before": difference.before.revision if difference is not None and difference.before is not None else None,
        "difference": list(difference.lines) if difference is not None else [],
        "conflicts": done.conflicts,
    }


def _this_user() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container's user may have no name
        return f"unknown@{socket.gethostname()}"


def said(*words: str) -> str:
    """A command line for the history."""
    return " ".join(word for word in words if word)


def formatted_as(store_text: str, format_: str | None, file_name: str, text: str) -> None:
    """Refuse to put a document of one format in the place of one whose format its name fixes.

    Raises:
        WrongUseError: The formats differ.
    """
    given = format_of(file_name) or format_of_text(text)
    if format_ is not None and given != format_:
        raise WrongUseError(
            f"{file_name} is {given}, and {store_text or 'the rules'} are kept as {format_}; convert it first"
        )


def listed(words: Sequence[str] | None) -> tuple[str, ...]:
    """Words of an option or argument that may be left out."""
    return tuple(words or ())
