"""A service that registers itself: ``python registered.py PORT``, settings from the environment."""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import graymw


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


app = graymw.install(Starlette(routes=[Route("/", hello)]))

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
