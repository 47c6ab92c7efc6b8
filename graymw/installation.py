"""The one line, ``graymw.install(app)``, and the same as each framework's own middleware."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from graymw.bootstrap import engine_for, running, settings_or_off
from graymw.clients import instrumenting
from graymw.errors import GrayError
from graymw.middleware.asgi import ASGIApp, GrayASGIMiddleware, Receive, Scope, Send
from graymw.middleware.wsgi import Environ, GrayWSGIApp, StartResponse, WSGIApp
from graymw.runtime import counters
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings
from graymw.telemetry import setup
from graymw.telemetry.metrics_setup import set_up_metrics

log = logging.getLogger("graymw")

AppT = TypeVar("AppT")
SettingsLike = Settings | Mapping[str, object] | None

_INSTALLED = "_graymw_installed"


def install(app: AppT, *, settings: SettingsLike = None) -> AppT:
    """Make an application take part in gray releases. Installing twice is as good as once.

    FastAPI, Starlette and Flask applications are changed and returned; Django handlers and bare ASGI or WSGI callables
    are wrapped, so use what is returned.

    Args:
        app: The application.
        settings: Instead of ``GRAYMW_*`` variables and files.

    Returns:
        The application to serve.

    Raises:
        GrayError: ``app`` is no ASGI or WSGI application. Nothing else is raised: an application whose settings are
            refused runs as without graymw, and the log says why.
    """
    wrap = _way_of(app)
    engine = start(settings)
    if engine is None:
        return app
    try:
        return cast("AppT", wrap(app, engine))
    except Exception as error:  # noqa: BLE001 - a fault of ours must not keep the application from starting
        _off(error)
        return app


def start(settings: SettingsLike) -> Engine | None:
    """Engine, telemetry and client patches for some settings; None where they switch graymw off or are refused."""
    resolved = settings_or_off(settings)
    if not resolved.enabled:
        return None
    try:
        engine = engine_for(resolved)
        setup.set_up_tracing(resolved)
        set_up_metrics(resolved, running)
        instrumenting.instrument()
    except Exception as error:  # noqa: BLE001 - as above
        _off(error)
        return None
    return engine


def _off(error: Exception) -> None:
    counters.count("install.error")
    told = str(error) if isinstance(error, GrayError) else repr(error)
    cause = None if isinstance(error, GrayError) else error
    counters.once(log, f"install:{told}", logging.ERROR, "graymw is off for this application. %s", told, exc_info=cause)


def instrument() -> None:
    """Let every HTTP and gRPC client of the process carry and route; ``install`` does this already.

    For processes without a server: jobs and scripts that call services under ``graymw.use``.
    """
    start(None)


def uninstrument() -> None:
    """Give every client library back as it was."""
    instrumenting.uninstrument()


def _way_of(app: object) -> Callable[[Any, Engine], Any]:
    if isinstance(app, (GrayMiddleware, GrayWSGIMiddleware, GrayASGIMiddleware, GrayWSGIApp)):
        return _as_it_is
    if inspect.isclass(app) and any("__call__" in vars(base) for base in app.__mro__):
        name = app.__name__
        raise GrayError(f"graymw.install() takes an application, not the class {name}: give it what {name}(…) returns")
    if hasattr(app, "user_middleware") and hasattr(app, "build_middleware_stack"):
        return _install_starlette
    if hasattr(app, "wsgi_app") and hasattr(app, "register_error_handler"):
        return _install_flask
    if type(app).__module__.startswith("django.core.handlers."):
        return _install_django
    if is_asgi(app):
        return _install_asgi
    if callable(app) and not inspect.isclass(app):
        return _install_wsgi
    raise GrayError(
        f"graymw.install() takes an ASGI or WSGI application, not {type(app).__name__}: "
        "give it the FastAPI, Starlette, Flask or Django object, or the callable your server runs"
    )


def is_asgi(app: object) -> bool:
    """Whether a callable is an ASGI 3 application rather than a WSGI one."""
    if inspect.iscoroutinefunction(app):
        return True
    call = getattr(app, "__call__", None)  # noqa: B004 - the method itself is looked at
    return inspect.iscoroutinefunction(call) or (callable(app) and _positional(app) == 3)


def _positional(app: Callable[..., object]) -> int:
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in parameters
    )


def _as_it_is(app: Any, _engine: Engine) -> Any:
    return app


def _install_asgi(app: Any, engine: Engine) -> Any:
    return GrayASGIMiddleware(app, engine)


def _install_wsgi(app: Any, engine: Engine) -> Any:
    return GrayWSGIApp(app, engine)


def _install_starlette(app: Any, engine: Engine) -> Any:
    from graymw.middleware.starlette import install_starlette  # noqa: PLC0415 - only where Starlette is in use

    return install_starlette(app, engine)


def _install_flask(app: Any, engine: Engine) -> Any:
    from graymw.middleware.flask import install_flask  # noqa: PLC0415 - only where Flask is in use

    return install_flask(app, engine)


def _install_django(app: Any, engine: Engine) -> Any:
    from graymw.middleware.django import install_django  # noqa: PLC0415 - only where Django is in use

    return install_django(app, engine)


class GrayMiddleware:
    """ASGI middleware: ``app.add_middleware(graymw.GrayMiddleware)``.

    Args:
        app: The application inside.
        settings: Instead of ``GRAYMW_*`` variables and files.
    """

    def __init__(self, app: ASGIApp, *, settings: SettingsLike = None) -> None:
        engine = start(settings)
        self.app: ASGIApp = app if engine is None else GrayASGIMiddleware(app, engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        await self.app(scope, receive, send)


class GrayWSGIMiddleware:
    """WSGI middleware: ``app.wsgi_app = graymw.GrayWSGIMiddleware(app.wsgi_app)``.

    Args:
        app: The application inside.
        settings: Instead of ``GRAYMW_*`` variables and files.
    """

    def __init__(self, app: WSGIApp, *, settings: SettingsLike = None) -> None:
        engine = start(settings)
        self.wsgi_app: WSGIApp = app if engine is None else GrayWSGIApp(app, engine)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI entry."""
        return self.wsgi_app(environ, start_response)
