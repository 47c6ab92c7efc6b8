"""Attributes are given back exactly as they were, whoever else replaced them in between."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import aiohttp
import grpc
import httpx
import pytest
import requests
import urllib3
import wrapt
from grpc import _channel
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from graymw.clients import instrumenting
from graymw.clients.patching import Patches, TracedWatch, is_traced


class Base:
    def send(self) -> str:
        return "sent"


class Library(Base):
    def call(self) -> str:
        return "called"


def outer(patches: Patches) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def replacement(self: Any) -> str:
            answer: str = original(self)
            return f"ours({answer})" if patches.active else answer

        return replacement

    return make


@pytest.fixture
def patches() -> Patches:
    return Patches()


@pytest.fixture(autouse=True)
def as_it_was() -> Any:
    call = Library.__dict__["call"]
    yield
    Library.call = call  # type: ignore[method-assign]


def patch(patches: Patches) -> None:
    patches.replace(Library, "call", outer(patches))
    patches.active = True


def test_a_replacement_is_in_force_until_restored(patches: Patches) -> None:
    original = Library.__dict__["call"]
    patch(patches)
    assert Library().call() == "ours(called)"
    patches.restore()
    assert Library.__dict__["call"] is original


def test_replacing_twice_is_as_good_as_once(patches: Patches) -> None:
    patch(patches)
    patch(patches)
    assert Library().call() == "ours(called)"


def test_a_buried_replacement_only_passes_on_and_can_be_woken(patches: Patches) -> None:
    patch(patches)
    wrapt.wrap_function_wrapper(Library, "call", lambda wrapped, _, args, kwargs: f"theirs({wrapped(*args, **kwargs)})")
    assert Library().call() == "theirs(ours(called))"
    patches.restore()
    assert Library().call() == "theirs(called)"
    patch(patches)
    assert Library().call() == "theirs(ours(called))"


def test_only_what_a_class_defines_itself_is_replaced(patches: Patches) -> None:
    with pytest.raises(AttributeError, match="send"):
        patches.replace(Library, "send", outer(patches))


def test_opentelemetrys_wrappers_are_known_from_those_of_others() -> None:
    handle = httpx.HTTPTransport.__dict__["handle_request"]
    watch = TracedWatch()
    assert not watch(handle)
    HTTPXClientInstrumentor().instrument(skip_dep_check=True)
    try:
        assert is_traced(httpx.HTTPTransport.__dict__["handle_request"])
        assert watch(httpx.HTTPTransport.__dict__["handle_request"])
    finally:
        HTTPXClientInstrumentor().uninstrument()
    assert not watch(httpx.HTTPTransport.__dict__["handle_request"])
    assert not is_traced(functools.wraps(handle)(lambda *_: None))


def attributes() -> list[Any]:
    return [
        httpx.Client.__dict__["_transport_for_url"],
        httpx.AsyncClient.__dict__["_transport_for_url"],
        requests.Session.__dict__["get_adapter"],
        requests.adapters.HTTPAdapter.__dict__["send"],
        urllib3.HTTPConnectionPool.__dict__["urlopen"],
        urllib3.HTTPConnectionPool.__dict__["close"],
        aiohttp.ClientSession.__dict__["_request"],
        _channel.Channel,
        grpc.aio.insecure_channel,
        grpc.aio.secure_channel,
    ]


def test_uninstrumenting_gives_every_library_back_exactly() -> None:
    before = attributes()
    instrumenting.instrument()
    instrumenting.instrument()
    assert not any(now is then for now, then in zip(attributes(), before, strict=True))
    instrumenting.uninstrument()
    instrumenting.uninstrument()
    assert all(now is then for now, then in zip(attributes(), before, strict=True))


def test_adapters_of_the_application_are_given_back_too() -> None:
    class Own(requests.adapters.BaseAdapter):
        def send(self, request: Any, **_: Any) -> Any:
            raise NotImplementedError

        def close(self) -> None:
            pass

    original = Own.__dict__["send"]
    instrumenting.instrument()
    session = requests.Session()
    session.mount("http://", Own())
    assert type(session.get_adapter("http://x/")) is Own
    assert Own.__dict__["send"] is not original
    instrumenting.uninstrument()
    assert Own.__dict__["send"] is original
