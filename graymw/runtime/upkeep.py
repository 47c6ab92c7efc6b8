"""What runs beside the requests of one process: rules, instances and settings kept current, itself registered."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from graymw.core.model import RuleDocument
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.last_good import LastGood
from graymw.runtime.ports import Registrar, Registry, RuleSource
from graymw.runtime.process_status import StatusWriter
from graymw.runtime.registration import Registration
from graymw.runtime.settings_follower import SettingsFollower
from graymw.runtime.state_dir import open_state_dir
from graymw.runtime.watching import WatchThread, watch_thread
from graymw.settings.schema import Settings


class Upkeep:
    """Loads and watches rules, instances and settings, keeps the process registered, and writes its status.

    Args:
        settings: Who this process is, and where its state lies.
        source: Where the rules come from; None: there are none.
        on_change: Puts a document in force; raises where it cannot.
        registry: Who knows the instances; None: nobody does.
        registrar: Where this process registers; None: nowhere.
        follower: Who follows the settings files; None: nobody does.
        thread: Who watches.

    Attributes:
        keeper: Who knows the document in force.
        registry: Who knows the instances.
        follower: Who follows the settings files.
        registration: Who keeps this process registered.
    """

    def __init__(
        self,
        settings: Settings,
        source: RuleSource | None,
        *,
        on_change: Callable[[RuleDocument], None],
        registry: Registry | None = None,
        registrar: Registrar | None = None,
        follower: SettingsFollower | None = None,
        thread: WatchThread = watch_thread,
    ) -> None:
        state = open_state_dir(settings.state_dir)
        last_good = LastGood(state, service=settings.service, source=source.name) if source is not None else None
        self._on_change = on_change
        self.registry = registry
        self.follower = follower
        self.keeper = DocumentKeeper(source, on_change=self._take, last_good=last_good, thread=thread)
        self.registration = (
            Registration(
                settings,
                registrar,
                registry_host=_first_host(settings.registry),
                directory=state.path if state is not None else None,
                revision=lambda: self.keeper.current.revision,
                ready=lambda: self.registry is None or self.registry.ready,
                thread=thread,
            )
            if registrar is not None
            else None
        )
        self._status = (
            StatusWriter(
                state,
                service=settings.service,
                version=settings.version,
                keeper=self.keeper,
                registry=registry,
                registration=self.registration,
                follower=follower,
                thread=thread,
            )
            if state is not None
            else None
        )

    def start(self) -> None:
        """Load what can be had at once, then watch. Neither waits for anything remote, nor raises."""
        self.keeper.load_now()
        self.keeper.watch()
        if self.follower is not None:
            self.follower.start()
        if self.registry is not None:
            self.registry.start()
        if self.registration is not None:
            self.registration.start()
        if self._status is not None:
            self._status.start()

    def leave(self) -> bool:
        """Take this process out of the registry; waits for seconds at most. Whether its instance is out for that."""
        return self.registration is not None and self.registration.stop()

    def stop(self) -> None:
        """Watch no more; rules, instances and settings stay in force."""
        self.leave()
        if self.follower is not None:
            self.follower.stop()
        self.keeper.stop()
        if self.registry is not None:
            self.registry.stop()
        if self._status is not None:
            self._status.stop()

    def _take(self, document: RuleDocument) -> None:
        self._on_change(document)
        if self.registry is not None:
            self.registry.want(service for release in document.releases for service in release.services or ())


def _first_host(url: str) -> str:
    """Host of the first server that a URL names; empty without one."""
    hosts = urlsplit(f"//{url.partition('://')[2]}").netloc.rpartition("@")[2].split(",")
    try:
        return urlsplit(f"//{hosts[0]}").hostname or ""
    except ValueError:
        return ""
