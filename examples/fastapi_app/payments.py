"""Payments: the end of the chain."""

from __future__ import annotations

import os

from fastapi import FastAPI

import graymw

app = FastAPI(title="payments")
graymw.install(app)  # the gray part

me = {"service": "payments", "version": os.environ.get("GRAYMW_VERSION", "v1"), "pid": os.getpid()}


@app.get("/pay")
async def pay() -> dict[str, object]:
    return me


@app.get("/health")
async def health() -> dict[str, object]:
    return me
