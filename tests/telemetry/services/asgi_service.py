"""A FastAPI service: one line of graymw, no line of OpenTelemetry."""

import os

import httpx
from fastapi import FastAPI

import graymw

app = graymw.install(FastAPI())


@app.get("/hello")
async def hello() -> dict[str, str | None]:
    return {"version": graymw.current().version()}


@app.get("/call")
async def call() -> dict[str, int]:
    async with httpx.AsyncClient() as client:
        response = await client.get(os.environ["NEXT"])
    return {"status": response.status_code}


@app.post("/upload")
async def upload() -> dict[str, str | None]:
    return {"version": graymw.current().version()}
