"""What runs beside the requests of one configured process: rules kept current, status told."""

from __future__ import annotations

from collections.abc import Callable

from graymw.core.model import RuleDocument
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.last_good import LastGood
from graymw.runtime.ports import RuleSource
from graymw.runtime.process_status import StatusWriter
from graymw.runtime.state_dir import open_state_dir
from graymw.runtime.watching import WatchThread, watch_thread
from graymw.settings.schema import Settings


class Upkeep:
    """Loads the rules, watches them, and writes this process's status.

    Args:
        settings: Who this process is, and where its state lies.
        source: Where the rules come from; None: there are none.
        on_change: Puts a document in force; raises where it cannot.
        thread: Who watches.

    Attributes:
        keeper: Who knows the document in force.
    """

    def __init__(
        self,
        settings: Settings,
        source: RuleSource | None,
        *,
        on_change: Callable[[RuleDocument], None],
        thread: WatchThread = watch_thread,
    ) -> None:
        state = open_state_dir(settings.state_dir)
        last_good = LastGood(state, service=settings.service, source=source.name) if source is not None else None
        self.keeper = DocumentKeeper(source, on_change=on_change, last_good=last_good, thread=thread)
        self._status = (
            StatusWriter(state, service=settings.service, version=settings.version, keeper=self.keeper, thread=thread)
            if state is not None
            else None
        )

    def start(self) -> None:
        """Load what can be had at once, then watch. Neither waits for anything remote, nor raises."""
        self.keeper.load_now()
        self.keeper.watch()
        if self._status is not None:
            self._status.start()

    def stop(self) -> None:
        """Watch no more; the document stays in force."""
        self.keeper.stop()
        if self._status is not None:
            self._status.stop()
