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
    if any(entry.cls is GrayASGIMiddleware for entry in app.user_middleware):
        return app
    if app.middleware_stack is not None:
        raise GrayError("the application already serves: call graymw.install(app) where it is made")
    app.user_middleware.insert(0, Middleware(GrayASGIMiddleware, engine=engine))  # type: ignore[arg-type]
    build = app.build_middleware_stack

    def build_with_gray_outermost() -> Any:
        ours = [entry for entry in app.user_middleware if entry.cls is GrayASGIMiddleware]
        app.user_middleware[:] = ours + [entry for entry in app.user_middleware if entry.cls is not GrayASGIMiddleware]
        return build()

    app.build_middleware_stack = build_with_gray_outermost  # type: ignore[method-assign]
    return app
