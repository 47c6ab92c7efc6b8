"""Orders: called by the edge, calls payments."""

from __future__ import annotations

import os

import requests
from flask import Flask

import graymw

app = Flask("orders")
graymw.install(app)  # the gray part

me = {"service": "orders", "version": os.environ.get("GRAYMW_VERSION", "v1"), "pid": os.getpid()}


@app.get("/order")
def order() -> dict[str, object]:
    """Ask `payments`, by its name: the request's version came with it and goes on with it."""
    try:
        answer = requests.get("http://payments/pay", timeout=10)
        return {**me, "next": answer.json()}
    except requests.ConnectionError as error:
        return {**me, "next": {"service": "payments", "error": str(error)}}


@app.get("/health")
def health() -> dict[str, object]:
    return me
