"""For ``opentelemetry-instrument``: applications take part without a line of their own.

The entry point is called when OpenTelemetry's SDK and instrumentations are set up and the application is not imported
yet. From then on every Starlette, FastAPI, Flask and Django application of the process is installed as it is made.
``GRAYMW_ENABLED=false`` or ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=graymw`` leaves them alone.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from graymw.clients.import_hook import ImportHook
from graymw.clients.patching import Patches
from graymw.runtime import counters, tracing
from graymw.telemetry.attaching import attach

log = logging.getLogger("graymw.auto")

DJANGO_MIDDLEWARE: Final = "graymw.django.GrayMiddleware"
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"

_patches: Final = Patches()


def post_instrument() -> None:
    """Entry point ``opentelemetry_post_instrument``: tag spans from the first one on, install what is made later."""
    tracing.when_provider_appears(attach)
    tracing.recording_tracer()
    if "graymw" not in {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}:
        _patches.active = True
        ImportHook({module: functools.partial(_contained, cover) for module, cover in _COVERS.items()}).install()


def restore() -> None:
    """Install nothing any more; what is installed stays."""
    _patches.restore()


def _cover_starlette() -> None:
    from starlette.applications import Starlette  # noqa: PLC0415 - it is imported already when this is called

    _patches.replace(Starlette, "__init__", _installing)


def _cover_fastapi() -> None:
    from fastapi.applications import FastAPI  # noqa: PLC0415

    _patches.replace(FastAPI, "__init__", _installing)


def _cover_flask() -> None:
    from flask.app import Flask  # noqa: PLC0415

    _patches.replace(Flask, "__init__", _installing)


def _cover_django() -> None:
    from django.core.handlers.base import BaseHandler  # noqa: PLC0415

    _patches.replace(BaseHandler, "load_middleware", _with_gray_middleware)


_COVERS: Final[Mapping[str, Callable[[], None]]] = MappingProxyType(
    {
        "starlette.applications": _cover_starlette,
        "fastapi.applications": _cover_fastapi,
        "flask.app": _cover_flask,
        "django.core.handlers.base": _cover_django,
    }
)
"""What to do when a module has been imported."""


def _contained(cover: Callable[[], None]) -> None:
    try:
        cover()
    except Exception as error:  # noqa: BLE001 - it runs within the application's import
        counters.count("install.error")
        counters.once(log, f"auto:{cover.__name__}", logging.ERROR, "a framework is not covered: %r", error)


def _installing(original: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose new application is installed."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it stands in for one
        original(self, *args, **kwargs)
        if _patches.active:
            from graymw.installation import install  # noqa: PLC0415 - only processes with an application need it

            install(self)

    return __init__


def _with_gray_middleware(original: Callable[..., None]) -> Callable[..., None]:
    """``BaseHandler.load_middleware`` with ours in front, unless the project names it itself."""

    @functools.wraps(original)
    def load_middleware(self: Any, *args: Any, **kwargs: Any) -> None:
        from django.conf import settings  # noqa: PLC0415

        if _patches.active and DJANGO_MIDDLEWARE not in settings.MIDDLEWARE:
            settings.MIDDLEWARE = [DJANGO_MIDDLEWARE, *settings.MIDDLEWARE]
        original(self, *args, **kwargs)

    return load_middleware
