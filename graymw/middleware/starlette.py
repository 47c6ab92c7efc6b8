"""Starlette and FastAPI: ours becomes the outermost of the application's own middlewares.

Instrumentations that wrap the finished stack (OpenTelemetry's for FastAPI, FastAPI's native telemetry) stay outside;
they insist on the stack's own outermost layer, so nothing may be put around it.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware

from graymw.errors import GrayError
from graymw.middleware.asgi import GrayASGIMiddleware
from graymw.runtime.engine import Engine


def install_starlette(app: Starlette, engine: Engine) -> Starlette:
    """Add the middleware to an application that has not begun to serve.

    Raises:
        GrayError: It has begun; its middlewares are fixed.
    """
    if any(map(_is_ours, app.user_middleware)):
        return app
    if app.middleware_stack is not None:
        raise GrayError("the application already serves: call graymw.install(app) where it is made")
    app.user_middleware.insert(0, Middleware(GrayASGIMiddleware, engine=engine))
    build = app.build_middleware_stack

    def build_with_gray_outermost() -> Any:
        app.user_middleware.sort(key=lambda entry: not _is_ours(entry))
        return build()

    app.build_middleware_stack = build_with_gray_outermost  # type: ignore[method-assign]
    return app


def _is_ours(entry: Middleware) -> bool:
    return getattr(entry, "cls", None) is GrayASGIMiddleware
