"""``graymw watch``: the rules as they change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer

from graymw.cli import terminal
from graymw.cli.changing import compared, moves_told
from graymw.cli.options import JsonOption, RulesOption
from graymw.cli.outcome import FINE, WrongUseError
from graymw.cli.rules_here import NO_RULES
from graymw.core.document import examine, format_of
from graymw.core.model import RuleDocument
from graymw.errors import GrayError
from graymw.runtime.backoff import Backoff
from graymw.runtime.ports import Fetched, RuleSource
from graymw.settings.loader import load_settings
from graymw.sources import source_for


def command(
    rules: RulesOption = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many lines.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Write a line whenever the rules change: revision, and who moves. Ends with Ctrl-C."""
    settings = load_settings()
    source = source_for(settings if rules is None else replace(settings, rules=rules))
    if source is None:
        raise WrongUseError(NO_RULES)
    asyncio.run(_follow(source, _Teller(as_json=as_json, left=count)))
    return FINE


async def _follow(source: RuleSource, teller: _Teller) -> None:
    """As a process does: what is out of reach is asked again, after a growing wait."""
    backoff = Backoff(cap=10.0)
    while True:
        try:
            async for fetched in source.watch():
                backoff.reset()
                if teller.take(fetched):
                    return
        except GrayError as error:
            if teller.trouble(str(error)):
                return
        await asyncio.sleep(backoff.next())


class _Teller:
    """Tells each change once; says whether enough was told."""

    def __init__(self, *, as_json: bool, left: int | None, clock: Callable[[], float] = time.time) -> None:
        self._as_json = as_json
        self._left = left
        self._clock = clock
        self._document: RuleDocument | None = None
        self._last = ""

    def take(self, fetched: Fetched) -> bool:
        if fetched.text is None:
            return self.trouble(fetched.absence)
        examined = examine(fetched.text, format=fetched.format or format_of(fetched.origin))
        if examined.document is None:
            faults = [
                terminal.problem_line(each, fetched.origin) for each in examined.problems if each.severity == "error"
            ]
            return self.trouble(f"refused: {'; '.join(faults)}")
        before, self._document = self._document, examined.document
        if before is not None and before.revision == examined.document.revision and not self._last:
            return False
        self._last = ""
        moves = moves_told(compared(before, examined.document)) if before is not None else []
        return self._tell(
            {"revision": examined.document.revision, "moves": moves}, f"revision {examined.document.revision}", moves
        )

    def trouble(self, told: str) -> bool:
        if told == self._last:
            return False
        self._last = told
        return self._tell({"problem": told}, f"problem: {told}", [])

    def _tell(self, as_json: dict[str, Any], text: str, more: list[str]) -> bool:
        at = self._clock()
        if self._as_json:
            terminal.write_json_line({"at": at, **as_json})
        else:
            when = datetime.fromtimestamp(at).astimezone().isoformat(sep=" ", timespec="milliseconds")
            terminal.line(f"{when} {text}")
            for line in more:
                terminal.line(f"  {line}")
        if self._left is not None:
            self._left -= 1
        return self._left == 0
