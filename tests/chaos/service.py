"""One instance of a chain ``edge`` → ``orders`` → ``payments``: ``service.py PORT``. Says who served each hop."""

from __future__ import annotations

import os
import sys

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import graymw

SERVICE = os.environ["GRAYMW_SERVICE"]
NEXT = {"edge": "orders", "orders": "payments"}.get(SERVICE)
http = httpx.AsyncClient(timeout=5)


async def serve(_request: Request) -> JSONResponse:
    hops = [[SERVICE, os.environ["GRAYMW_VERSION"]]]
    if NEXT is not None:
        try:
            answer = await http.get(f"http://{NEXT}/")
        except httpx.HTTPError as error:
            return JSONResponse({"error": f"{NEXT}: {error!r} {error.__cause__!r}"}, 500)
        if answer.status_code != 200:
            return JSONResponse({"error": f"{NEXT}: {answer.text}"}, answer.status_code)
        hops += answer.json()["hops"]
    return JSONResponse({"hops": hops})


app = graymw.install(Starlette(routes=[Route("/", serve)]))

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
