"""One line of graymw and a record in each request, as ASGI and as WSGI application."""

import logging
import threading

import httpx
from fastapi import FastAPI
from flask import Flask

import graymw

log = logging.getLogger("shop")

asgi = graymw.install(FastAPI())
wsgi = graymw.install(Flask("shop"))


@asgi.get("/hello")
async def hello() -> dict[str, str | None]:
    log.info("working")
    return {"version": graymw.current().version()}


@wsgi.get("/hello")
def hello_there() -> dict[str, str | None]:
    log.info("working")
    return {"version": graymw.current().version()}


@wsgi.get("/lost")
def lost() -> dict[str, str | None]:
    def call() -> None:
        with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
            client.get("http://payments/pay")

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return {"version": graymw.current().version()}
