"""From settings to a running engine: one engine for equal settings, its rules loaded and watched."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from graymw.core.context import GrayContext
from graymw.errors import SettingsError
from graymw.registries.choosing import registrar_for, registry_for
from graymw.registries.static import StaticRegistry
from graymw.runtime import counters
from graymw.runtime.current import current_carried, default_engine, override, set_default_engine
from graymw.runtime.documents import DocumentKeeper
from graymw.runtime.engine import Engine
from graymw.runtime.ports import Registry
from graymw.runtime.settings_follower import SettingsFollower
from graymw.runtime.sigterm import first_on_sigterm
from graymw.runtime.upkeep import Upkeep
from graymw.settings.identity import UNKNOWN_SERVICE
from graymw.settings.live import lasting
from graymw.settings.loader import load_settings
from graymw.settings.schema import Settings
from graymw.sources import source_for

if TYPE_CHECKING:
    from graymw.telemetry.line_writing import LineWriter

log = logging.getLogger("graymw")

_lock: Final = threading.Lock()
_NAMELESS: Final = (
    "this process has no name, so which release governs it and whether it serves the decided version is unknown; "
    "set GRAYMW_SERVICE or OTEL_SERVICE_NAME"
)


class Running(NamedTuple):
    """An engine and what keeps it up to date."""

    engine: Engine
    upkeep: Upkeep
    lines: LineWriter | None = None

    @property
    def keeper(self) -> DocumentKeeper:
        """Who knows the document in force."""
        return self.upkeep.keeper


_running: Final[list[Running]] = []


def running() -> tuple[Running, ...]:
    """All engines of this process, now."""
    return tuple(_running)


def resolve_settings(settings: Settings | Mapping[str, object] | None) -> Settings:
    """Settings as given, validated from a mapping, or loaded from environment and files.

    Raises:
        SettingsError: With every problem at once.
    """
    if isinstance(settings, Settings):
        return settings
    if settings is not None:
        return Settings.from_mapping(settings)
    return load_settings()


def settings_or_off(settings: Settings | Mapping[str, object] | None) -> Settings:
    """As ``resolve_settings``; refused settings switch graymw off, told once, so that the application runs."""
    try:
        return resolve_settings(settings)
    except SettingsError as error:
        counters.count("settings.refused")
        counters.once(log, f"settings:{error}", logging.ERROR, "graymw is off for this application. %s", error)
        return Settings(enabled=False)


def engine_for(settings: Settings) -> Engine:
    """The engine of some settings, made and started at the first call; then the default of the process as well."""
    with _lock:
        for running in _running:
            if _alike(running.engine.settings, settings):
                set_default_engine(running.engine)
                return running.engine
        registry = registry_for(settings)
        engine = Engine(settings, registry)
        registrar = registrar_for(settings)
        upkeep = Upkeep(
            settings,
            source_for(settings),
            on_change=engine.adopt,
            registry=registry,
            registrar=registrar,
            follower=SettingsFollower(settings, on_change=_adopting(engine, registry)),
        )
        upkeep.start()
        if registrar is not None:
            _leave_at_exit()
        _running.append(Running(engine, upkeep, _access_log(engine) if settings.access_log else None))
        if settings.detect_lost_context:
            _handovers().watch()
    if settings.rules and settings.service == UNKNOWN_SERVICE:
        counters.once(log, "service", logging.WARNING, _NAMELESS)
    set_default_engine(engine)
    return engine


def _alike(one: Settings, other: Settings) -> bool:
    """Whether two differ in nothing that lasts: what may change in a file is followed while the process runs."""
    if one.place is not None and one.place.is_followed_like(other.place):
        return lasting(one) == lasting(other)
    return one == other


def _adopting(engine: Engine, registry: Registry) -> Callable[[Settings], None]:
    def adopt(settings: Settings) -> None:
        engine.adopt_settings(settings)
        if isinstance(registry, StaticRegistry):
            registry.adopt(settings.services)

    return adopt


def _handovers() -> ModuleType:
    from graymw.clients import handovers  # noqa: PLC0415 - only where it is asked for

    return handovers


def _leave_at_exit() -> None:
    from graymw.telemetry import flushing  # noqa: PLC0415 - only where it is asked for

    flushing.flush_more_at_exit(_leave_all)
    first_on_sigterm(_leave_all)


def _leave_all() -> bool:
    return any([running.upkeep.leave() for running in _running])  # noqa: C419 - all of them leave


def _access_log(engine: Engine) -> LineWriter:
    from graymw.telemetry import flushing, line_writing  # noqa: PLC0415 - only where it is asked for
    from graymw.telemetry.access_log import AccessLog  # noqa: PLC0415

    lines = line_writing.LineWriter(engine.settings.access_log)
    engine.observers = (*engine.observers, AccessLog(engine.settings, lines))
    flushing.flush_more_at_exit(line_writing.flush_all)
    return lines


def shut_down() -> None:
    """Stop watching and forget every engine; for tests and for processes that go on without graymw."""
    with _lock:
        for running in _running:
            running.upkeep.stop()
            if running.lines is not None:
                running.lines.close()
            if running.engine.settings.detect_lost_context:
                _handovers().unwatch()
        _running.clear()
    set_default_engine(None)


@contextmanager
def use(release: str, version: str) -> Iterator[GrayContext]:
    """Override the version of one release for the work inside: jobs, scripts, tests.

    Args:
        release: Name of the release; it need not be known to this process.
        version: The version that calls made inside go to.

    Yields:
        The context in force, with every other decision of the work at hand kept.

    Raises:
        ValueError: ``release`` or ``version`` has characters that may not travel.
    """
    carried = current_carried()
    engine = carried.engine if carried is not None else default_engine()
    if engine is None:
        engine = engine_for(settings_or_off(None))
    with override(engine, release, version) as context:
        yield context
