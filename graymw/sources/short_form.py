"""The rule document that a few settings stand for: one release named ``default`` for all services."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from graymw.core.document import examine_short_form, short_form
from graymw.errors import RulesError
from graymw.runtime.ports import Fetched
from graymw.settings.schema import Settings


class ShortFormSource:
    """The short form as a rule source. It never changes while the process runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def name(self) -> str:
        """Where the rules come from."""
        return "settings"

    def read_now(self) -> Fetched:
        """The document.

        Raises:
            RulesError: The settings make none; its problems name the settings, not places in a document.
        """
        settings = self._settings
        ratio, when = settings.gray_ratio or None, settings.gray_when or None
        versions = {"gray": settings.gray_version, "stable": settings.stable_version}
        examined = examine_short_form(ratio=ratio, when=when, **versions)
        if examined.document is None:
            raise RulesError((p for p in examined.problems if p.severity == "error"), origin=self.name)
        text = json.dumps(short_form(ratio=ratio, when=when, **versions), ensure_ascii=False)
        return Fetched(text, self.name, "json", keep=False)

    async def load(self) -> Fetched:
        """As ``read_now``."""
        return self.read_now()

    async def watch(self) -> AsyncIterator[Fetched]:
        """The document, once; none where the settings make none, which the start has told and nothing mends."""
        with contextlib.suppress(RulesError):
            yield self.read_now()
        await asyncio.Event().wait()
