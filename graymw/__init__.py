"""Gray release (canary, full-link) for Python services.

One line, ``graymw.install(app)``, decides which version a request gets, carries the decision to every service the
request passes through, sends each call to an instance of that version, and shows it in traces. Names are loaded when
first used, so importing this costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graymw import grpc as grpc
    from graymw import messaging as messaging
    from graymw import openfeature as openfeature
    from graymw.bootstrap import use
    from graymw.clients.httpx import AsyncGrayTransport, GrayTransport
    from graymw.clients.requests import GrayAdapter
    from graymw.core.bucketing import bucket
    from graymw.core.context import Decision, GrayContext
    from graymw.core.facts import RequestFacts
    from graymw.core.ruleset import RuleSet
    from graymw.errors import GrayError, GrayUnavailableError, RulesError, SettingsError
    from graymw.installation import GrayMiddleware, GrayWSGIMiddleware, install, instrument, uninstrument
    from graymw.loading import load_rules
    from graymw.runtime.current import current
    from graymw.runtime.threads import GrayThread, GrayThreadPoolExecutor, carry
    from graymw.settings.schema import Settings
    from graymw.telemetry.logs import GrayLogFilter, add_gray_context
    from graymw.telemetry.sampler import GraySampler

_HOMES = {
    "AsyncGrayTransport": "graymw.clients.httpx",
    "Decision": "graymw.core.context",
    "GrayAdapter": "graymw.clients.requests",
    "GrayContext": "graymw.core.context",
    "GrayError": "graymw.errors",
    "GrayLogFilter": "graymw.telemetry.logs",
    "GrayMiddleware": "graymw.installation",
    "GraySampler": "graymw.telemetry.sampler",
    "GrayThread": "graymw.runtime.threads",
    "GrayThreadPoolExecutor": "graymw.runtime.threads",
    "GrayTransport": "graymw.clients.httpx",
    "GrayUnavailableError": "graymw.errors",
    "GrayWSGIMiddleware": "graymw.installation",
    "RequestFacts": "graymw.core.facts",
    "RuleSet": "graymw.core.ruleset",
    "RulesError": "graymw.errors",
    "Settings": "graymw.settings.schema",
    "SettingsError": "graymw.errors",
    "add_gray_context": "graymw.telemetry.logs",
    "bucket": "graymw.core.bucketing",
    "carry": "graymw.runtime.threads",
    "current": "graymw.runtime.current",
    "install": "graymw.installation",
    "instrument": "graymw.installation",
    "load_rules": "graymw.loading",
    "uninstrument": "graymw.installation",
    "use": "graymw.bootstrap",
}
"""Where each public name lives."""

_MODULES = frozenset({"grpc", "messaging", "openfeature"})
"""Reached as ``graymw.grpc`` without an import of their own."""

__all__ = [
    "AsyncGrayTransport",
    "Decision",
    "GrayAdapter",
    "GrayContext",
    "GrayError",
    "GrayLogFilter",
    "GrayMiddleware",
    "GraySampler",
    "GrayThread",
    "GrayThreadPoolExecutor",
    "GrayTransport",
    "GrayUnavailableError",
    "GrayWSGIMiddleware",
    "RequestFacts",
    "RuleSet",
    "RulesError",
    "Settings",
    "SettingsError",
    "add_gray_context",
    "bucket",
    "carry",
    "current",
    "install",
    "instrument",
    "load_rules",
    "uninstrument",
    "use",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"graymw.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'graymw' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
