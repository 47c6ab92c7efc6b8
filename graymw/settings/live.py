"""Which settings follow their files while a process runs, and which wait for its next start."""

from __future__ import annotations

import dataclasses
from typing import Final

from graymw.settings.schema import NO_SETTINGS, PREFIX, Settings

LIVE: Final = (
    "trust",
    "secret",
    "signature_ttl",
    "egress",
    "user",
    "region",
    "device",
    "strict",
    "access_log_facts",
    "retry_budget",
    "sample_gray",
    "sample_stable",
    "services",
)
"""Settings that may change between two requests. Whatever something long-lived was built by is not among them:
connections, registrations, patched libraries, queues that were subscribed to."""

_NAMES: Final = tuple(entry.name for entry in dataclasses.fields(Settings) if entry.name not in NO_SETTINGS)
_DEFAULTS: Final = Settings()


def adopted(in_force: Settings, written: Settings) -> Settings:
    """The settings in force with those of another value that may change; the same object where none does."""
    changed = {name: getattr(written, name) for name in LIVE if getattr(written, name) != getattr(in_force, name)}
    return dataclasses.replace(in_force, **changed) if changed else in_force


def changed_names(before: Settings, now: Settings) -> tuple[str, ...]:
    """Variables (``GRAYMW_TRUST``) whose settings differ; never a value, which may be a secret."""
    names = [name for name in _NAMES if getattr(before, name) != getattr(now, name)]
    return tuple(variable for name in names for variable in _variables(name, before, now))


def waiting_names(in_force: Settings, written: Settings) -> tuple[str, ...]:
    """Variables whose written settings differ from those in force and count at the next start only."""
    return changed_names(in_force, dataclasses.replace(written, **{name: getattr(in_force, name) for name in LIVE}))


def lasting(settings: Settings) -> Settings:
    """Settings without those that may change, to compare what an engine was built by."""
    defaults = {name: getattr(_DEFAULTS, name) for name in LIVE}
    return dataclasses.replace(settings, **defaults, explicit=settings.explicit - set(LIVE), warnings=())


def _variables(name: str, before: Settings, now: Settings) -> list[str]:
    if not name.endswith("_access"):
        return [PREFIX + name.upper()]
    one, other = getattr(before, name), getattr(now, name)
    keys = [entry.name for entry in dataclasses.fields(one) if getattr(one, entry.name) != getattr(other, entry.name)]
    return [f"{PREFIX}{name.removesuffix('access')}{key}".upper() for key in keys]
