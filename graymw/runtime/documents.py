"""The rule document in force: loaded without holding up the start, watched, replaced as a whole, never by a bad one."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from graymw.core.document import parse as parse_document
from graymw.core.model import RuleDocument
from graymw.errors import GrayError, RulesError
from graymw.runtime import counters
from graymw.runtime.backoff import Backoff
from graymw.runtime.last_good import LastGood
from graymw.runtime.ports import Fetched, LocalRuleSource, RuleSource
from graymw.runtime.watching import Watch, WatchThread, watch_thread

log = logging.getLogger("graymw.rules")

LOCAL_CAP: Final = 0.5
"""Longest wait in seconds before a local source that cannot be read is tried again."""

REMOTE_CAP: Final = 30.0


class Parser(Protocol):
    """Text to document; raises ``RulesError``."""

    def __call__(self, text: str | bytes, /, *, format: str | None, origin: str) -> RuleDocument:  # noqa: A002
        """The document of a text."""


@dataclass(frozen=True, slots=True)
class CurrentDocument:
    """The document in force.

    Attributes:
        document: The document; without releases before the first good one.
        origin: Where it came from, without credentials.
        loaded_at: When, in seconds since the Unix epoch; None before the first good one.
        from_disk: Whether it is the copy kept from an earlier run, since the source could not be used.
    """

    document: RuleDocument = field(default_factory=RuleDocument)
    origin: str = ""
    loaded_at: float | None = None
    from_disk: bool = False

    @property
    def revision(self) -> str:
        """Revision of the document; empty before the first good one."""
        return self.document.revision

    def age(self, now: float) -> float | None:
        """Seconds since it was loaded."""
        return None if self.loaded_at is None else max(0.0, now - self.loaded_at)


class DocumentKeeper:
    """Keeps the document of one source in force.

    Args:
        source: Where the document comes from; None: there are no rules.
        on_change: Puts a document in force. Where it raises, the document is refused like one that cannot be parsed.
        parse: Text to document.
        last_good: The copy on disk; None: none is kept.
        clock: Seconds since the Unix epoch.
        thread: Who watches.

    Attributes:
        current: The document in force; replaced as a whole.
        last_error: Why the source's present content is not in force; empty where it is.
    """

    def __init__(
        self,
        source: RuleSource | None,
        *,
        on_change: Callable[[RuleDocument], None],
        parse: Parser = parse_document,
        last_good: LastGood | None = None,
        clock: Callable[[], float] = time.time,
        thread: WatchThread = watch_thread,
    ) -> None:
        self.source = source
        self.current = CurrentDocument()
        self.last_error = ""
        self._on_change = on_change
        self._parse = parse
        self._last_good = last_good
        self._clock = clock
        self._thread = thread
        self._watch: Watch | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._seen: str | bytes | None = None
        self._accepted = False

    def load_now(self) -> CurrentDocument:
        """Load what can be had without waiting: a local source's document, else the copy on disk. Never raises."""
        if self.source is None:
            return self.current
        if not isinstance(self.source, LocalRuleSource):
            self._take_copy()
            return self.current
        try:
            fetched = self.source.read_now()
        except Exception as error:  # noqa: BLE001  the start of the application goes on whatever a source does
            self._out_of_reach(error)
            self._take_copy()
        else:
            if not self._take(fetched) and fetched.text is not None and fetched.keep:
                self._take_copy()
        return self.current

    def watch(self) -> None:
        """Take every change from now on."""
        if self.source is not None and self._watch is None:
            self._watch = self._thread.run(self._follow, name=f"rules of {self.source.name}")

    def stop(self) -> None:
        """Take no more changes; the document stays in force."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _follow(self) -> None:
        source = self.source
        if source is None:
            return
        if self._pid != os.getpid():  # forked; a parent that was still at work took the key along
            self._pid, self._lock = os.getpid(), threading.Lock()
        backoff = Backoff(cap=LOCAL_CAP if isinstance(source, LocalRuleSource) else REMOTE_CAP)
        while True:
            began, has_reported = time.monotonic(), False
            try:
                async for fetched in source.watch():
                    self._take(fetched)
                    has_reported = True
            except Exception as error:  # noqa: BLE001  whatever a source does, the last good document stays
                self._out_of_reach(error)
            if has_reported:
                backoff.went_well(time.monotonic() - began)
            await asyncio.sleep(backoff.next())

    def _take(self, fetched: Fetched) -> bool:
        """Put what a source holds in force; False where it holds nothing, or nothing good."""
        with self._lock:
            if fetched.text is None:
                self._trouble("rules.absent", fetched.absence)
                return False
            if fetched.text != self._seen:
                accepted = self._adopt(fetched)
                self._seen, self._accepted = fetched.text, accepted
                if self._accepted and self._last_good is not None:
                    self._last_good.save(fetched, now=self._clock())
            elif self._accepted:
                self._recovered()
            return self._accepted

    def _take_copy(self) -> None:
        """Put the copy on disk in force, if there is a good one."""
        kept = self._last_good.load() if self._last_good is not None else None
        if kept is None:
            return
        reason = self.last_error
        with self._lock:
            if self._adopt(kept.fetched):
                self.current = replace(self.current, loaded_at=kept.saved_at, from_disk=True)
                self.last_error = reason
                counters.count("rules.from_disk")
                level = logging.WARNING if reason else logging.INFO
                log.log(level, "rules of %s in force, revision %s", kept.fetched.origin, self.current.revision)

    def _adopt(self, fetched: Fetched) -> bool:
        assert fetched.text is not None  # noqa: S101  the callers have looked
        try:
            document = self._parse(fetched.text, format=fetched.format, origin=fetched.origin)
            self._on_change(document)
        except RulesError as error:
            self._trouble("rules.refused", str(error))
            return False
        except Exception as error:  # noqa: BLE001  a fault of ours: the last good document is as good as before
            self._trouble("rules.refused", f"{fetched.origin}: {error!r}")
            return False
        self.current = CurrentDocument(document, fetched.origin, self._clock())
        self._recovered()
        counters.count("rules.loaded")
        log.info("rules of %s in force, revision %s", fetched.origin, document.revision)
        return True

    def _out_of_reach(self, error: Exception) -> None:
        counter = "rules.refused" if isinstance(error, RulesError) else "source.error"
        self._trouble(counter, str(error) if isinstance(error, GrayError) else repr(error))

    def _trouble(self, counter: str, told: str) -> None:
        """Count a problem, and log it unless it is the one that was there before."""
        counters.count(counter)
        if told != self.last_error:
            self.last_error = told
            if self.current.loaded_at is None:
                log.error("no rules are in force yet: %s", told)
            else:
                log.error("the last good rules stay (revision %s): %s", self.current.revision, told)

    def _recovered(self) -> None:
        self.last_error = ""
