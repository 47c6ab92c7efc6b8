"""The edge: the first service a request reaches, so the one that decides the request's version."""

from __future__ import annotations

import os

import httpx
from fastapi import FastAPI

import graymw

app = FastAPI(title="edge")
graymw.install(app)  # the gray part

me = {"service": "edge", "version": os.environ.get("GRAYMW_VERSION", "v1"), "pid": os.getpid()}
client = httpx.AsyncClient(timeout=10)


@app.get("/checkout")
async def checkout() -> dict[str, object]:
    """Ask `orders`, by its name: the call goes to an instance of the version this request gets."""
    try:
        answer = await client.get("http://orders/order")
        return {**me, "next": answer.json()}
    except httpx.TransportError as error:
        return {**me, "next": {"service": "orders", "error": str(error)}}


@app.get("/health")
async def health() -> dict[str, object]:
    return me
