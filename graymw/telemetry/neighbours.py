"""Who else makes SERVER spans *inside* our middleware.

Instrumentations are known by the module and name of their classes, so none of them is imported. Those that run
outside of us need no search: their span is current when the request arrives.
"""

from __future__ import annotations

import enum
import functools
import inspect
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from types import FunctionType, GetSetDescriptorType, MappingProxyType, MemberDescriptorType, MethodType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, Tracer

from graymw.runtime import counters
from graymw.telemetry.attaching import attach

log = logging.getLogger("graymw.telemetry")


class State(enum.Enum):
    """Whether SERVER spans are made inside an application."""

    ABSENT = enum.auto()
    HTTP_ONLY = enum.auto()
    """For HTTP requests, not for WebSockets."""
    PRESENT = enum.auto()


ABSENT: Final = State.ABSENT
HTTP_ONLY: Final = State.HTTP_ONLY
PRESENT: Final = State.PRESENT

_INSTRUMENTATIONS: Final[Mapping[str, State]] = MappingProxyType(
    {
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware": PRESENT,
        "opentelemetry.instrumentation.wsgi.OpenTelemetryMiddleware": PRESENT,
        "opentelemetry.instrumentation.django.middleware.otel_middleware._DjangoMiddleware": PRESENT,
        "opentelemetry.instrumentation.flask._rewrapped_app.<locals>._wrapped_app": PRESENT,
        "starlette.middleware.opentelemetry.OpenTelemetryMiddleware": HTTP_ONLY,
    }
)
_FLAG: Final = "_is_instrumented_by_opentelemetry"
"""Set on Flask, Falcon, FastAPI and Starlette applications by OpenTelemetry's instrumentations."""

_LINKS: Final = (
    *("app", "_app", "asgi_app", "asgi", "application", "wsgi_application"),
    *("wsgi", "wsgi_app", "_wsgi_app"),
    *("middleware_stack", "_middleware_chain", "get_response"),
    *("__wrapped__", "func", "awaitable"),
)
"""Attributes under which wrappers of all kinds keep what they wrap; ``func`` and ``awaitable`` are asgiref's."""

_MOST: Final = 256
"""Layers looked at. No real stack comes near it."""


class InnerSpans:
    """Whether instrumentations inside an application make its SERVER spans.

    Judged at the first request, when every layer is in place, and again when another tracer provider appears: FastAPI
    begins to trace with that. Never judged for each request.

    Args:
        app: What our middleware calls.
    """

    __slots__ = ("_app", "_state", "_tracer")

    def __init__(self, app: object) -> None:
        self._app = app
        self._state: State | None = None
        self._tracer: Tracer | None = None

    def cover(self, tracer: Tracer | None, *, http: bool = True) -> bool:
        """Whether an instrumentation inside makes the SERVER span of a request.

        Args:
            tracer: Our tracer; None where no provider is set.
            http: Whether it is an HTTP request rather than a WebSocket.
        """
        if self._state is None or tracer is not self._tracer:
            self._state, self._tracer = server_spans(self._app), tracer
        return self._state is PRESENT or (http and self._state is HTTP_ONLY)


def server_spans(app: object) -> State:
    """Whether SERVER spans are made inside an application, by what its objects tell. Never raises.

    Where an application branches (a dispatcher with mounted applications) the search ends: a span of ours around the
    branches is right for each of them, as OpenTelemetry's instrumentations make none beneath another.

    Args:
        app: ASGI or WSGI application, or Django's ``get_response``.
    """
    try:
        return _search(app)
    except Exception as error:  # noqa: BLE001 - foreign objects may do anything
        counters.count("telemetry.error")
        counters.once(log, f"neighbours:{type(error).__name__}", logging.WARNING, "instrumentations unknown: %r", error)
        return ABSENT


def _search(app: object) -> State:
    waiting = deque([app])
    seen: set[int] = set()
    found = ABSENT
    while waiting and len(seen) < _MOST:
        layer = waiting.popleft()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        state = _state_of(layer)
        if state is PRESENT:
            return PRESENT
        found = HTTP_ONLY if state is HTTP_ONLY else found
        waiting.extend(_wrapped_by(layer))
    return found


def _state_of(layer: object) -> State:
    """What one layer does by itself."""
    state = _known(layer) if type(layer) is FunctionType else _known_kind(type(layer))
    if state is not ABSENT:
        provider = _own(layer, "_tracer_provider")
        attach(provider or _own(layer, "tracer") or _own(layer, "_tracer"))
        return ABSENT if isinstance(provider, NoOpTracerProvider) else state
    native = _own(layer, "_native_telemetry")
    if native is not None and type(native).__module__ == "fastapi.telemetry._asgi":
        state = _native_state(_own(native, "config"))
    if state is ABSENT and _own(layer, "middleware_stack") is None:
        # A stack that is built tells more than the flag, which also stands where instrumenting came too late.
        return PRESENT if _own(layer, _FLAG) is True else _planned(_own(layer, "user_middleware"))
    return state


def _known_kind(kind: type) -> State:
    return next((state for base in kind.__mro__ if (state := _known(base)) is not ABSENT), ABSENT)


def _known(named: type | FunctionType) -> State:
    return _INSTRUMENTATIONS.get(f"{named.__module__}.{named.__qualname__}", ABSENT)


def _planned(entries: object) -> State:
    """What Starlette will build into its stack at its first request."""
    if not isinstance(entries, list):
        return ABSENT
    classes = [getattr(entry, "cls", None) for entry in entries]
    states = {_known_kind(cls) for cls in classes if isinstance(cls, type)}
    return PRESENT if PRESENT in states else HTTP_ONLY if HTTP_ONLY in states else ABSENT


def _native_state(config: Any) -> State:
    """FastAPI's own telemetry, by the questions it asks itself at each request."""
    provider = config["tracer_provider"]
    attach(provider)
    if not config["tracing"] or isinstance(provider, NoOpTracerProvider):
        return ABSENT
    if provider is None and isinstance(trace.get_tracer_provider(), (ProxyTracerProvider, NoOpTracerProvider)):
        return ABSENT
    return PRESENT


def _wrapped_by(layer: object) -> Iterable[object]:
    """What a layer wraps; nothing where it is the last one, or branches."""
    if type(layer) is FunctionType:
        wrapped = _own(layer, "__wrapped__")
        return _closed_over(layer) if wrapped is None else (wrapped,)
    if type(layer) is MethodType:
        return (layer.__self__,)
    if isinstance(layer, functools.partial):
        return (layer.func,)
    if isinstance(layer, type) or _own(layer, "mounts"):
        return ()
    return [value for link in _LINKS if callable(value := _own(layer, link)) and not isinstance(value, type)]


def _closed_over(function: FunctionType) -> tuple[object, ...]:
    """The one application that a function closes over. Several may be branches."""
    inner: list[object] = []
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if callable(content) and not isinstance(content, type):
            inner.append(content)
    return tuple(inner) if len(inner) == 1 else ()


def _own(layer: object, name: str) -> Any:
    """An attribute, without running code of the object: no property, no ``__getattr__``."""
    value = inspect.getattr_static(layer, name, None)
    if isinstance(value, (MemberDescriptorType, GetSetDescriptorType)):
        try:
            return value.__get__(layer, type(layer))
        except AttributeError:
            return None
    return None if isinstance(value, property) else value
