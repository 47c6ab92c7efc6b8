"""A service that answers itself and asks the next one: what it answers is in the query."""

import os

import httpx
from fastapi import FastAPI, Response

import graymw

app = graymw.install(FastAPI())


@app.get("/order")
async def order(status: int = 200) -> Response:
    return Response(status_code=status)


@app.get("/checkout")
async def checkout(status: int = 200) -> Response:
    async with httpx.AsyncClient() as client:
        answer = await client.get(os.environ["NEXT"], params={"status": status})
    return Response(status_code=answer.status_code)
