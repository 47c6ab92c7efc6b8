"""Flask: the WSGI callable is wrapped, and a refused call answers 503."""

from __future__ import annotations

from flask import Flask, Response

from graymw.errors import GrayUnavailableError
from graymw.middleware.answers import unavailable
from graymw.middleware.wsgi import GrayWSGIApp
from graymw.runtime import counters
from graymw.runtime.engine import Engine


def install_flask(app: Flask, engine: Engine) -> Flask:
    """Wrap ``app.wsgi_app``, once."""
    if _is_wrapped(app.wsgi_app):
        return app
    app.wsgi_app = GrayWSGIApp(app.wsgi_app, engine)  # type: ignore[method-assign]
    try:
        app.register_error_handler(GrayUnavailableError, _refused)
    except AssertionError:  # it serves already, so its handlers are fixed
        counters.count("install.late")
    return app


def _is_wrapped(wsgi_app: object) -> bool:
    for _ in range(32):
        if isinstance(wsgi_app, GrayWSGIApp):
            return True
        wsgi_app = getattr(wsgi_app, "wsgi_app", None) or getattr(wsgi_app, "app", None)
        if wsgi_app is None:
            return False
    return False


def _refused(error: GrayUnavailableError) -> Response:
    answer = unavailable(error)
    return Response(answer.body, answer.status, answer.text_headers)
