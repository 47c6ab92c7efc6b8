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


@app.get("/")
def index() -> dict[str, Any]:
    return {**known(request.headers.get("baggage", "")), "served": os.environ["GRAYMW_VERSION"]}


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), app) as server:
        server.serve_forever()
