"""A Flask service: one line of graymw, no line of OpenTelemetry. Run alone, it serves with nothing but Python."""

import os
import sys
from wsgiref.simple_server import make_server

from flask import Flask

import graymw

app = graymw.install(Flask("orders"))


@app.get("/hello")
def hello() -> dict[str, str | int | None]:
    return {"version": graymw.current().version(), "pid": os.getpid()}


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), app) as server:
        server.serve_forever()
