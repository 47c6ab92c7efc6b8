"""One change, from the document that is in force to the next one: made, checked, shown, confirmed, written.

Written by compare-and-set: where somebody else was first, the change is made again on what they wrote.
"""

from __future__ import annotations

import asyncio
import difflib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from graymw.core.document import examine, format_of_text
from graymw.core.model import RuleDocument
from graymw.errors import ConflictError, Problem, RulesError, SourceError
from graymw.runtime.ports import Change, Fetched, RuleStore

ATTEMPTS: Final = 100
"""Conflicts in a row after which somebody must be writing in a loop."""

FOUND: Final = "found"
"""What the history says of the document that was there before graymw first wrote."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a change would do.

    Attributes:
        before: Document in force; None where there is none that can be read.
        after: Document that would be.
        lines: Unified difference of the texts.
        warnings: What is worth saying about the new document.
    """

    before: RuleDocument | None
    after: RuleDocument
    lines: tuple[str, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes what, and why."""

    who: str
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a change.

    Attributes:
        difference: What was changed; None where there was nothing to change.
        change: As the history has it; None where nothing was written.
        conflicts: How often somebody else was first.
    """

    difference: Difference | None
    change: Change | None
    conflicts: int = 0


async def publish(
    store: RuleStore,
    author: Author,
    make: Callable[[str, str | None], str],
    confirm: Callable[[Difference], bool],
    *,
    clock: Callable[[], float] = time.time,
) -> Published:
    """Change the document of a store.

    Args:
        make: From the text in force (empty without one) and its format to the new one; called again after a conflict.
        confirm: Whether to write; asked again only where the difference has become another one.

    Raises:
        RulesError: The new document has errors.
        SourceError: The store cannot be reached, or refuses.
        Whatever ``make`` raises.
    """
    confirmed: tuple[str, ...] | None = None
    for conflicts in range(ATTEMPTS):
        fetched = await store.read()
        before = _text(fetched)
        after = make(before, fetched.format)
        difference = _difference(before, after, fetched)
        if before == after:
            return Published(None, None, conflicts)
        if difference.lines != confirmed and not confirm(difference):
            return Published(difference, None, conflicts)
        confirmed = difference.lines
        change = Change(after, difference.after.revision, clock(), author.who, author.what, author.why)
        try:
            if before and difference.before is not None and not await _has_history(store):
                found = Change(before, difference.before.revision, clock(), "", FOUND)
                await store.write(found, expected=fetched.version)
                fetched = await store.read()
                if _text(fetched) != before:
                    continue
            await _write(store, change, fetched.version)
        except ConflictError:
            await asyncio.sleep(random.uniform(0, 0.02 * (conflicts + 1)))  # noqa: S311 - only to get out of step
            continue
        return Published(difference, change, conflicts)
    raise SourceError(f"{store.name} changed {ATTEMPTS} times while it was being written; try again later")


async def _has_history(store: RuleStore) -> bool:
    """Whether the document that is there is in the history; who may not read it need not be kept from writing."""
    try:
        return bool(await store.history(1))
    except SourceError:
        return True


async def _write(store: RuleStore, change: Change, expected: str) -> None:
    """Write; where the answer is lost, look whether it was written."""
    try:
        await store.write(change, expected=expected)
    except ConflictError:
        raise
    except SourceError as error:
        try:
            now = await store.read()
        except SourceError:
            told = "whether it was written is not known: graymw history tells once it can be reached again"
            raise SourceError(f"{error}; {told}") from error
        if now.version == expected or _text(now) != change.text:
            raise


async def change_of(store: RuleStore, revision: str, *, limit: int = 1_000) -> Change:
    """The last change in the history that made a revision.

    Args:
        revision: Its first digits are enough where they tell it from others.

    Raises:
        SourceError: There is none, or several revisions begin so.
    """
    history = await store.history(limit)
    found = [change for change in history if change.revision.startswith(revision.lower())]
    revisions = dict.fromkeys(change.revision for change in found)
    if len(revisions) != 1:
        known = ", ".join(dict.fromkeys(change.revision for change in history[:5])) or "nothing"
        told = "several revisions begin with" if revisions else "the history has no revision"
        raise SourceError(f"{told} {revision}; the last ones are {known}")
    return found[0]


def _difference(before: str, after: str, fetched: Fetched) -> Difference:
    examined = examine(after, format=fetched.format or format_of_text(after))
    if examined.document is None:
        raise RulesError((each for each in examined.problems if each.severity == "error"), origin="the new document")
    known = examine(before, format=fetched.format).document if before else None
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "in force", "new", lineterm="", n=2)
    warnings = tuple(each for each in examined.problems if each.severity != "error")
    return Difference(known, examined.document, tuple(lines), warnings)


def _text(fetched: Fetched) -> str:
    text = fetched.text or ""
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise SourceError(f"{fetched.origin} holds no UTF-8 text; publish a whole document instead") from None
