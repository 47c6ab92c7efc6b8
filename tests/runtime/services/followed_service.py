"""A service whose settings file is edited while it runs."""

import os
import socket
from typing import Any

import httpx
from fastapi import FastAPI

import graymw

HOST = "shop.example.test"

_look_up = socket.getaddrinfo


def look_up(host: Any, *args: Any, **more: Any) -> Any:
    """A name service that knows one host more."""
    return _look_up("127.0.0.1" if host in (HOST, HOST.encode()) else host, *args, **more)


socket.getaddrinfo = look_up

app = graymw.install(FastAPI())


@app.get("/decided")
def decided() -> dict[str, str | None]:
    return {"version": graymw.current().version()}


@app.get("/call")
def call() -> dict[str, str | None]:
    """What arrives at a host that is neither a service of ours nor an address inside."""
    answer = httpx.get(f"http://{HOST}:{os.environ['ECHO_PORT']}/", trust_env=False)
    return {"baggage": answer.text}
