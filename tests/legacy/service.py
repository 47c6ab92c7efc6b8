"""A WSGI service that needs nothing but Python and graymw: one line of it, and no line of OpenTelemetry."""

import sys
from wsgiref.simple_server import make_server

from opentelemetry import trace

import graymw


@graymw.install
def app(environ, start_response):
    with trace.get_tracer("application").start_as_current_span("work"):
        start_response("200 OK", [("content-type", "text/plain")])
        return [(graymw.current().version() or "").encode()]


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), app) as server:
        server.serve_forever()
