"""The last hop, in Flask: it inherits."""

from __future__ import annotations

import os
import sys
from typing import Any
from wsgiref.simple_server import make_server

from flask import Flask, request
from said import known

import graymw

app = graymw.install(Flask("last"))
ours = app.wsgi_app


def noting(environ: dict[str, Any], start_response: Any) -> Any:
    """Keep the header as it came: the application is shown what is trusted of it."""
    environ["interop.received"] = environ.get("HTTP_BAGGAGE", "")
    return ours(environ, start_response)


app.wsgi_app = noting


@app.get("/")
def index() -> dict[str, Any]:
    return {**known(request.environ["interop.received"]), "served": os.environ["GRAYMW_VERSION"]}


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), app) as server:
        server.serve_forever()
