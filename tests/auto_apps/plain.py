"""Applications that never heard of graymw: they tell the baggage header they see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from flask import Flask
from flask import request as flask_request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

fastapi_app = FastAPI()


@fastapi_app.get("/")
def fastapi_index(request: Request) -> Any:
    return PlainTextResponse(request.headers.get("baggage", ""))


async def starlette_index(request: Any) -> PlainTextResponse:
    return PlainTextResponse(request.headers.get("baggage", ""))


starlette_app = Starlette(routes=[Route("/", starlette_index)])
flask_app = Flask("plain")


@flask_app.get("/")
def flask_index() -> str:
    return flask_request.headers.get("baggage", "")
