"""Django: a wrapped handler, or an entry of ``MIDDLEWARE`` that serves sync and async requests alike."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context, copy_context
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from opentelemetry import trace
from opentelemetry.context.context import Context as OTelContext
from opentelemetry.trace import Span

from graymw.core.carrying import wire
from graymw.errors import GrayUnavailableError
from graymw.middleware.answers import COOKIE_NAME, Answer, misdirected, unavailable
from graymw.middleware.asgi import MARK as ASGI_MARK
from graymw.middleware.asgi import GrayASGIMiddleware, without_dialects
from graymw.middleware.wsgi import MARK, GrayWSGIApp, WsgiFacts, all_headers, remove_dialects
from graymw.runtime import counters, tracing
from graymw.runtime.admission import Admitted, admit
from graymw.runtime.current import attach, detach
from graymw.runtime.engine import Engine
from graymw.runtime.live_facts import header_text
from graymw.runtime.observing import Observation, observe
from graymw.settings.schema import Settings
from graymw.telemetry import server_span
from graymw.telemetry.neighbours import InnerSpans

log = logging.getLogger("graymw.django")


def install_django(handler: Any, engine: Engine) -> Any:
    """Wrap a WSGI or ASGI handler; a refused call answers 503 instead of Django's 500."""
    if hasattr(handler, "_exception_middleware"):
        refused = handler.adapt_method_mode(False, _refused)
        handler._exception_middleware.insert(0, refused)  # noqa: SLF001 - the list process_exception hooks go into
    return GrayASGIMiddleware(handler, engine) if isinstance(handler, ASGIHandler) else GrayWSGIApp(handler, engine)


def _refused(_request: HttpRequest, error: BaseException) -> HttpResponse | None:
    if not isinstance(error, GrayUnavailableError):
        return None
    return _response(unavailable(error))


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.text_headers))


class DjangoFacts(WsgiFacts):
    """Facts of one Django request; its ``META`` is an environ in both modes, but for the path."""

    __slots__ = ("request",)

    def __init__(self, request: HttpRequest, fields: dict[str, str], settings: Settings) -> None:
        super().__init__(request.META, fields, settings)
        self.request = request

    def raw_path(self) -> str:
        """Decoded path, mount point included."""
        return str(self.request.path)


class GrayMiddleware:
    """``MIDDLEWARE = ["graymw.django.GrayMiddleware", …]``: decides, carries and shows one request's version.

    Args:
        get_response: What comes after it.
        start: Gives the engine; None where graymw is switched off.

    Raises:
        MiddlewareNotUsed: graymw is switched off.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any], *, start: Callable[[], Engine | None]) -> None:
        engine = start()
        if engine is None:
            raise MiddlewareNotUsed("graymw is switched off")
        self.get_response = get_response
        self.engine = engine
        engine.guards_inbound = True
        self._inner_spans = InnerSpans(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Django's entry, in both modes."""
        if iscoroutinefunction(self.get_response):
            return self._answer_async(request)
        visit = self._enter(request)
        if visit is None:
            return self.get_response(request)
        self._observe(visit)
        tokens = attach(visit.context, visit.admitted.carried)
        try:
            return self._leave(visit, self._misdirected(visit) or self.get_response(request))
        except BaseException as error:
            visit.end(error)
            raise
        finally:
            detach(tokens)

    async def _answer_async(self, request: HttpRequest) -> Any:
        visit = self._enter(request)
        if visit is None:
            return await self.get_response(request)
        self._observe(visit)
        tokens = attach(visit.context, visit.admitted.carried)
        try:
            return self._leave(visit, self._misdirected(visit) or await self.get_response(request))
        except BaseException as error:
            visit.end(error)
            raise
        finally:
            detach(tokens)

    def _observe(self, visit: Visit) -> None:
        observers = self.engine.observers
        if observers:
            visit.observation = observe(observers, visit.admitted, visit.facts, visit.span)

    def _misdirected(self, visit: Visit) -> HttpResponse | None:
        admitted = visit.admitted
        if not admitted.misdirected:
            return None
        return _response(misdirected(self.engine.settings.version, admitted.gray))

    @staticmethod
    def process_exception(request: HttpRequest, error: BaseException) -> HttpResponse | None:
        """A refused call of a view answers 503."""
        return _refused(request, error)

    def _enter(self, request: HttpRequest) -> Visit | None:
        """Decide; None where an outer middleware of ours has, or where we failed and step aside."""
        if MARK in request.META or ASGI_MARK in getattr(request, "scope", ()):
            return None
        try:
            return self._admit(request)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the application
            counters.count("middleware.error")
            counters.once(log, f"django:{type(error).__name__}", logging.ERROR, "request passed undecided: %r", error)
            _distrust(request)
            return None

    def _admit(self, request: HttpRequest) -> Visit:
        engine, meta = self.engine, request.META
        snapshot = engine.snapshot_for_request()
        if not snapshot.headers.propagation.w3c_only:
            _remove_dialects(request)
        headers = all_headers(meta)
        fields = {name: header_text(name, value.encode("latin-1", "replace")) for name, value in headers.items()}
        facts = DjangoFacts(request, fields, snapshot.settings)
        admitted = admit(engine, snapshot, facts)
        meta[MARK] = admitted.gray
        if not admitted.unchanged:
            _rewrite(request, admitted.baggage)
        tracer = tracing.recording_tracer()
        if admitted.server_span is not None:
            return Visit(request, facts, admitted, None, admitted.context)
        if self._inner_spans.cover(tracer):
            return Visit(request, facts, admitted, None, admitted.uncalled)
        if tracer is None:
            return Visit(request, facts, admitted, None, admitted.context)
        span = server_span.start_wsgi(tracer, admitted, meta, facts, engine.settings.version)
        return Visit(request, facts, admitted, span, trace.set_span_in_context(span, admitted.context))

    def _leave(self, visit: Visit, response: HttpResponseBase) -> HttpResponseBase:
        """Set the issued cookie; let a streamed body run in the request's context."""
        if visit.facts.issued is not None:
            response.set_cookie(
                COOKIE_NAME,
                visit.facts.issued,
                max_age=self.engine.settings.cookie_max_age,
                secure=visit.request.is_secure(),
                httponly=True,
                samesite="Lax",
            )
        if visit.span is not None:
            server_span.answered(visit.span, response.status_code)
        if visit.observation is not None:
            visit.observation.answered(response.status_code)
        if isinstance(response, StreamingHttpResponse):
            content = response.streaming_content
            if isinstance(content, Iterator):
                context = copy_context()
                context.run(attach, visit.body_context, visit.admitted.carried)
                response.streaming_content = _stream(content, context, visit)
            else:
                response.streaming_content = _stream_async(aiter(content), visit)
        else:
            visit.end()
        return response


def _remove_dialects(request: HttpRequest) -> None:
    """Take out our members in other dialects of baggage, which instrumentations inside might read."""
    remove_dialects(request.META)
    request.__dict__.pop("headers", None)  # a cached view of META
    scope = getattr(request, "scope", None)
    if scope is not None:
        scope["headers"] = without_dialects(scope["headers"])


def _distrust(request: HttpRequest) -> None:
    """Take our members out of a request that nobody has judged."""
    with contextlib.suppress(Exception):
        _rewrite(request, wire.separate([request.META["HTTP_BAGGAGE"]]).application or None)


def _rewrite(request: HttpRequest, baggage: str | None) -> None:
    """Let the application, and instrumentations inside, see this ``baggage`` header only."""
    request.META.pop("HTTP_BAGGAGE", None)
    if baggage is not None:
        request.META["HTTP_BAGGAGE"] = baggage
    request.__dict__.pop("headers", None)  # a cached view of META
    scope = getattr(request, "scope", None)
    if scope is not None:
        kept = [pair for pair in scope["headers"] if pair[0] != b"baggage"]
        ours = [] if baggage is None else [(b"baggage", baggage.encode("latin-1", "replace"))]
        scope["headers"] = kept + ours


class Visit:
    """One admitted request on its way through Django."""

    __slots__ = ("admitted", "body_context", "context", "facts", "observation", "request", "span")

    def __init__(
        self, request: HttpRequest, facts: DjangoFacts, admitted: Admitted, span: Span | None, context: OTelContext
    ) -> None:
        self.request = request
        self.facts = facts
        self.admitted = admitted
        self.span = span
        self.observation: Observation | None = None
        self.context = context
        # An instrumentation inside has ended its span when the body is streamed, which is of the caller's trace still.
        self.body_context = admitted.context if span is None else context

    def end(self, error: BaseException | None = None) -> None:
        """End the span, named by the route Django found, and the observation. Later calls do nothing."""
        observation, self.observation = self.observation, None
        if observation is not None:
            if error is not None:
                observation.failed(error)
            observation.end()
        span, self.span = self.span, None
        if span is None:
            return
        route = getattr(self.request.resolver_match, "route", None)
        if route:
            server_span.name_route(span, str(self.request.method), "/" + route.removeprefix("/"))
        if error is not None:
            server_span.fail(span, error)
        span.end()


def _stream(content: Iterator[bytes], context: Context, visit: Visit) -> Iterator[bytes]:
    try:
        while True:
            try:
                chunk = context.run(next, content)
            except StopIteration:
                return
            yield chunk
    finally:
        visit.end()


async def _stream_async(content: AsyncIterator[bytes], visit: Visit) -> AsyncIterator[bytes]:
    try:
        while True:
            tokens = attach(visit.body_context, visit.admitted.carried)
            try:
                chunk = await anext(content)
            except StopAsyncIteration:
                return
            finally:
                detach(tokens)
            yield chunk
    finally:
        visit.end()
