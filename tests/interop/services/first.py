"""The first hop, in FastAPI: it decides, and asks a neighbour in another language."""

from __future__ import annotations

import json
import os
from typing import Any

import grpc
import httpx
from fastapi import FastAPI, Request
from google.protobuf.wrappers_pb2 import StringValue
from said import known

import graymw

app = FastAPI()


@app.get("/http")
async def by_http(request: Request) -> Any:
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.get(f"http://{os.environ['NEXT']}/")
    answer.raise_for_status()
    return {**known(request.headers.get("baggage", "")), "next": answer.json()}


@app.get("/grpc")
async def by_grpc(request: Request) -> Any:
    async with grpc.aio.insecure_channel(os.environ["NEXT"]) as channel:
        answer = await channel.unary_unary("/interop.Hop/Answer")(b"")
    said = json.loads(StringValue.FromString(answer).value)
    return {**known(request.headers.get("baggage", "")), "next": said}


graymw.install(app)
