"""Gray release for any ASGI application (FastAPI, Starlette, Django, bare callables): HTTP and WebSocket."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from opentelemetry import trace
from opentelemetry.context.context import Context
from opentelemetry.trace import Span

from graymw.core.carrying import wire
from graymw.errors import GrayUnavailableError
from graymw.middleware.answers import SET_COOKIE, Answer, cookie_header, misdirected, unavailable
from graymw.middleware.observed import observed_send
from graymw.runtime import counters, tracing
from graymw.runtime.admission import Admitted, admit
from graymw.runtime.current import attach, detach
from graymw.runtime.engine import Engine
from graymw.runtime.live_facts import LiveFacts, header_text, united
from graymw.runtime.observing import Observation, observe
from graymw.settings.schema import Settings
from graymw.telemetry import server_span
from graymw.telemetry.flushing import flush_after_lifespan
from graymw.telemetry.neighbours import InnerSpans

log = logging.getLogger("graymw.asgi")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MARK: Final = "graymw"
"""Set in a scope that was admitted, so that a second middleware lets it pass."""

_START: Final = ("http.response.start", "websocket.accept")


class AsgiFacts(LiveFacts):
    """Facts of one ASGI scope."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope, fields: dict[str, str], settings: Settings) -> None:
        super().__init__(fields, settings)
        self.scope = scope

    def raw_method(self) -> str:
        """Request method; a WebSocket's handshake is a GET."""
        return str(self.scope.get("method", "GET"))

    def raw_path(self) -> str:
        """Decoded path without the query."""
        return str(self.scope.get("path", ""))

    def raw_query(self) -> str:
        """Query string, percent-encoded."""
        return bytes(self.scope.get("query_string") or b"").decode("latin-1")

    def peer(self) -> str | None:
        """Host of ``scope["client"]``; None for a Unix socket."""
        client = self.scope.get("client")
        return client[0] or None if client else None


class GrayASGIMiddleware:
    """Decides, carries and shows one request's version around an ASGI application.

    Args:
        app: The application.
        engine: What to decide by.
    """

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self.app = app
        self.engine = engine
        engine.guards_inbound = True
        self._inner_spans = InnerSpans(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] not in ("http", "websocket") or MARK in scope:
            await self.app(scope, receive, flush_after_lifespan(send) if scope["type"] == "lifespan" else send)
            return
        engine = self.engine
        try:
            facts, admitted = self._admit(engine, scope)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the application
            counters.count("middleware.error")
            counters.once(log, f"asgi:{type(error).__name__}", logging.ERROR, "request passed undecided: %r", error)
            _distrust(scope)
            await self.app(scope, receive, send)
            return
        span, context = self._start_span(scope, facts, admitted)
        if span is not None or facts.issued is not None:
            send = self._watched(send, scope, facts, span)
        observation = None
        if engine.observers:
            observation = observe(engine.observers, admitted, facts, span)
            send = observed_send(send, observation)
        tokens = attach(context, admitted.carried)
        try:
            if admitted.misdirected and scope["type"] == "http":
                await _answer(send, misdirected(engine.settings.version, admitted.gray))
            elif admitted.snapshot.may_refuse:
                await self._refusing(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        except BaseException as error:
            _failed(error, span, observation)
            raise
        finally:
            detach(tokens)
            if span is not None:
                server_span.end_asgi(span, scope)
            if observation is not None:
                observation.end()

    @staticmethod
    def _admit(engine: Engine, scope: Scope) -> tuple[AsgiFacts, Admitted]:
        """Decide, and write what the application may see into its scope.

        The scope is changed rather than copied: middlewares around us look there for the route that was found.
        """
        snapshot = engine.snapshot_for_request()
        headers = scope["headers"]
        if not snapshot.headers.propagation.w3c_only:
            headers = scope["headers"] = without_dialects(headers)
        elif type(headers) is not list:  # any iterable by the specification, one that can be read once included
            headers = scope["headers"] = [*headers]
        names = snapshot.headers.by_bytes
        if snapshot.headers.everything:
            picked = [(name.decode("latin-1").lower(), value) for name, value in headers]
        else:
            picked = [(names[name], value) for name, value in headers if name in names]
        try:
            fields = {name: value.decode("ascii") for name, value in picked}
        except UnicodeDecodeError:
            fields = united((name, header_text(name, value)) for name, value in picked)
        else:
            if len(fields) != len(picked):
                fields = united((name, value.decode("ascii")) for name, value in picked)
        facts = AsgiFacts(scope, fields, snapshot.settings)
        admitted = admit(engine, snapshot, facts)
        scope[MARK] = admitted.gray
        if not admitted.unchanged:
            kept = [pair for pair in headers if pair[0] != b"baggage"] if "baggage" in fields else [*headers]
            if admitted.baggage is not None:
                kept.append((b"baggage", admitted.baggage.encode("latin-1", "replace")))
            scope["headers"] = kept
        return facts, admitted

    def _start_span(self, scope: Scope, facts: AsgiFacts, admitted: Admitted) -> tuple[Span | None, Context]:
        """Our own SERVER span, where no instrumentation outside or inside makes one; and the context to work in."""
        tracer = tracing.recording_tracer()
        if admitted.server_span is not None:
            return None, admitted.context
        if self._inner_spans.cover(tracer, http=scope["type"] == "http"):
            return None, admitted.uncalled
        if tracer is None:
            return None, admitted.context
        try:
            span = server_span.start_asgi(tracer, admitted, scope, facts, self.engine.settings.version)
        except Exception as error:  # noqa: BLE001 - a request without a span is still a request
            counters.count("telemetry.error")
            counters.once(log, f"span:{type(error).__name__}", logging.ERROR, "no server span: %r", error)
            return None, admitted.context
        return span, trace.set_span_in_context(span, admitted.context)

    def _watched(self, send: Send, scope: Scope, facts: AsgiFacts, span: Span | None) -> Send:
        """``send`` that sets the issued cookie and tells the span the status."""
        cookie = None
        if facts.issued is not None:
            secure = scope.get("scheme") in ("https", "wss")
            cookie = cookie_header(facts.issued, secure=secure, max_age=self.engine.settings.cookie_max_age)

        async def watched(message: Message) -> None:
            if message["type"] in _START:
                if cookie is not None:
                    message = {**message, "headers": [*message.get("headers", ()), (SET_COOKIE, cookie)]}
                if span is not None and "status" in message:
                    server_span.answered(span, message["status"])
            await send(message)

        return watched

    async def _refusing(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; a call of its that no instance may take answers 503, if nothing was answered yet."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except GrayUnavailableError as error:
            if started or scope["type"] != "http":
                raise
            await _answer(send, unavailable(error))


def _failed(error: BaseException, span: Span | None, observation: Observation | None) -> None:
    if span is not None:
        server_span.fail(span, error)
    if observation is not None:
        observation.failed(error)


def without_dialects(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers without our members in other dialects of baggage, which instrumentations inside might read."""
    return [pair for pair in headers if not wire.is_our_header(pair[0].decode("latin-1").lower())]


def _distrust(scope: Scope) -> None:
    """Take our members out of a request that nobody has judged."""
    with contextlib.suppress(Exception):
        headers = scope["headers"] = [*scope["headers"]]
        baggage = [value.decode("latin-1") for name, value in headers if name == b"baggage"]
        if baggage:
            application = wire.separate(baggage).application.encode("latin-1")
            kept = [(name, value) for name, value in headers if name != b"baggage"]
            scope["headers"] = [*kept, (b"baggage", application)] if application else kept


async def _answer(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})
