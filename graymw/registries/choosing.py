"""Which registry a setting means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from graymw.errors import Problem, SettingsError
from graymw.registries.static import StaticRegistry
from graymw.runtime.ports import Instances
from graymw.settings.schema import Settings

Factory: TypeAlias = Callable[[str, Settings], Instances]

SCHEMES: Final[dict[str, Factory]] = {
    "static": lambda _url, settings: StaticRegistry(settings.services),
}
"""Makers of registries by URL scheme; what follows a ``+`` (``consul+https``) is left to the maker."""


def registry_for(settings: Settings) -> Instances:
    """The registry that instances are looked up in.

    Raises:
        SettingsError: No registry speaks the scheme of ``GRAYMW_REGISTRY``.
    """
    scheme = settings.registry.partition(":")[0].partition("+")[0].lower()
    maker = SCHEMES.get(scheme)
    if maker is None:
        known = ", ".join(sorted(SCHEMES))
        raise SettingsError([Problem("GRAYMW_REGISTRY", f"no registry is called {scheme}", f"write one of: {known}")])
    return maker(settings.registry, settings)
