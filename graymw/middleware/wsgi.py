"""Gray release for any WSGI application (Flask, Django, bare callables).

Each request runs in a ``contextvars`` context of its own, its body and ``close()`` included. So nothing that the
application or an instrumentation attaches can stay on the worker's thread, even where a response is closed before it
is iterated.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from typing import Any, Final, TypeAlias

from opentelemetry import trace
from opentelemetry.context.context import Context as OTelContext
from opentelemetry.trace import INVALID_SPAN, Span

from graymw.core.carrying import wire
from graymw.errors import GrayUnavailableError
from graymw.middleware.answers import cookie_header, misdirected, unavailable
from graymw.middleware.observed import observed_start
from graymw.runtime import counters, tracing
from graymw.runtime.admission import Admitted, admit
from graymw.runtime.current import attach
from graymw.runtime.engine import Engine
from graymw.runtime.live_facts import LiveFacts, header_text
from graymw.runtime.observing import Observation, observe
from graymw.settings.schema import Settings
from graymw.telemetry import server_span
from graymw.telemetry.neighbours import InnerSpans

log = logging.getLogger("graymw.wsgi")

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
WSGIApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

MARK: Final = "graymw.context"
"""Set in an environ that was admitted, so that a second middleware lets it pass."""

_BAGGAGE: Final = "HTTP_BAGGAGE"
_UNIX_SOCKET: Final = ("", "localhost")
"""What servers tell of a peer without an address; ``localhost`` is waitress's."""


class WsgiFacts(LiveFacts):
    """Facts of one WSGI environ (PEP 3333: text is bytes read as latin-1)."""

    __slots__ = ("environ",)

    def __init__(self, environ: Environ, fields: dict[str, str], settings: Settings) -> None:
        super().__init__(fields, settings)
        self.environ = environ

    def raw_method(self) -> str:
        """Request method."""
        return str(self.environ.get("REQUEST_METHOD", "GET"))

    def raw_path(self) -> str:
        """Decoded path, mount point included."""
        path = str(self.environ.get("SCRIPT_NAME", "")) + str(self.environ.get("PATH_INFO", ""))
        return path.encode("latin-1", "replace").decode("utf-8", "replace") or "/"

    def raw_query(self) -> str:
        """Query string, percent-encoded."""
        return str(self.environ.get("QUERY_STRING") or "")

    def peer(self) -> str | None:
        """``REMOTE_ADDR``; a server that tells none counts as outside."""
        address: str = self.environ.get("REMOTE_ADDR", "unknown")
        return None if address in _UNIX_SOCKET else address


class GrayWSGIApp:
    """Decides, carries and shows one request's version around a WSGI application.

    Args:
        app: The application.
        engine: What to decide by.
    """

    def __init__(self, app: WSGIApp, engine: Engine) -> None:
        self.app = app
        self.engine = engine
        engine.guards_inbound = True
        self._inner_spans = InnerSpans(app)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI entry."""
        if MARK in environ:
            return self.app(environ, start_response)
        try:
            facts, admitted = self._admit(self.engine, environ)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not become a fault of the application
            counters.count("middleware.error")
            counters.once(log, f"wsgi:{type(error).__name__}", logging.ERROR, "request passed undecided: %r", error)
            _distrust(environ)
            return self.app(environ, start_response)
        span, otel = self._start_span(environ, facts, admitted)
        if span is not None or facts.issued is not None:
            start_response = self._watched(start_response, environ, facts, span)
        observers = self.engine.observers
        observation = observe(observers, admitted, facts, span) if observers else None
        if observation is not None:
            start_response = observed_start(start_response, observation)
        context = copy_context()
        try:
            body = context.run(self._run, environ, start_response, admitted, otel)
        except BaseException as error:
            _end(span, observation, error)
            raise
        if _is_plain(body, environ):
            _end(span, observation)
            return body
        return _Body(body, context, span, observation)

    def _run(
        self, environ: Environ, start_response: StartResponse, admitted: Admitted, otel: OTelContext
    ) -> Iterable[bytes]:
        """Within the request's own context, which is dropped with the request: nothing to detach."""
        attach(otel, admitted.carried)
        if admitted.misdirected:
            refusal = misdirected(self.engine.settings.version, admitted.gray)
            start_response(f"{refusal.status} {refusal.reason}", refusal.text_headers)
            return [refusal.body]
        try:
            body = self.app(environ, start_response)
        except GrayUnavailableError as error:
            if not admitted.snapshot.may_refuse:
                raise
            answer = unavailable(error)
            start_response(f"{answer.status} {answer.reason}", answer.text_headers, sys.exc_info())
            return [answer.body]
        if otel is admitted.uncalled and otel is not admitted.context and trace.get_current_span() is INVALID_SPAN:
            # Flask's instrumentation has ended its span by now; a streamed body belongs to the caller's trace still.
            attach(admitted.context, admitted.carried)
        return body

    @staticmethod
    def _admit(engine: Engine, environ: Environ) -> tuple[WsgiFacts, Admitted]:
        """Decide, and write what the application may see into its environ."""
        snapshot = engine.snapshot_for_request()
        if not snapshot.headers.propagation.w3c_only:
            remove_dialects(environ)
        if snapshot.headers.everything:
            fields = all_headers(environ)
        else:
            fields = {name: environ[key] for key, name in snapshot.headers.by_environ if key in environ}
        if not all(map(str.isascii, fields.values())):
            fields = {name: header_text(name, value.encode("latin-1", "replace")) for name, value in fields.items()}
        facts = WsgiFacts(environ, fields, snapshot.settings)
        admitted = admit(engine, snapshot, facts)
        environ[MARK] = admitted.gray
        if not admitted.unchanged:
            if admitted.baggage is None:
                environ.pop(_BAGGAGE, None)
            else:
                environ[_BAGGAGE] = admitted.baggage
        return facts, admitted

    def _start_span(self, environ: Environ, facts: WsgiFacts, admitted: Admitted) -> tuple[Span | None, OTelContext]:
        """Our own SERVER span, where no instrumentation outside or inside makes one; and the context to work in."""
        tracer = tracing.recording_tracer()
        if admitted.server_span is not None:
            return None, admitted.context
        if self._inner_spans.cover(tracer):
            return None, admitted.uncalled
        if tracer is None:
            return None, admitted.context
        try:
            span = server_span.start_wsgi(tracer, admitted, environ, facts, self.engine.settings.version)
        except Exception as error:  # noqa: BLE001 - a request without a span is still a request
            counters.count("telemetry.error")
            counters.once(log, f"span:{type(error).__name__}", logging.ERROR, "no server span: %r", error)
            return None, admitted.context
        return span, trace.set_span_in_context(span, admitted.context)

    def _watched(
        self, start_response: StartResponse, environ: Environ, facts: WsgiFacts, span: Span | None
    ) -> StartResponse:
        """``start_response`` that sets the issued cookie and tells the span the status."""
        cookie = None
        if facts.issued is not None:
            secure = environ.get("wsgi.url_scheme") == "https"
            cookie = cookie_header(facts.issued, secure=secure, max_age=self.engine.settings.cookie_max_age)

        def watched(status: str, headers: list[tuple[str, str]], *args: Any, **kwargs: Any) -> Any:
            if cookie is not None:
                headers = [*headers, ("Set-Cookie", cookie.decode("latin-1"))]
            if span is not None and status[:3].isdigit():
                server_span.answered_wsgi(span, int(status[:3]), environ)
            return start_response(status, headers, *args, **kwargs)

        return watched


def all_headers(environ: Environ) -> dict[str, str]:
    """Every request header of an environ, by lower-case name."""
    fields = {_name_of(key): value for key, value in environ.items() if key.startswith("HTTP_")}
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            fields[key.replace("_", "-").lower()] = environ[key]
    return fields


def _name_of(key: str) -> str:
    return key[5:].replace("_", "-").lower()


def remove_dialects(environ: Environ) -> None:
    """Take out our members in other dialects of baggage, which instrumentations inside might read."""
    for key in [key for key in environ if key.startswith("HTTP_") and wire.is_our_header(_name_of(key))]:
        del environ[key]


def _distrust(environ: Environ) -> None:
    """Take our members out of a request that nobody has judged."""
    with contextlib.suppress(Exception):
        application = wire.separate([environ.pop(_BAGGAGE)]).application
        if application:
            environ[_BAGGAGE] = application


def _is_plain(body: Iterable[bytes], environ: Environ) -> bool:
    """Whether iterating runs no code of the application, so that the server may have the body itself."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(body, (list, tuple)) or (isinstance(wrapper, type) and isinstance(body, wrapper))


def _end(span: Span | None, observation: Observation | None, error: BaseException | None = None) -> None:
    if observation is not None:
        if error is not None:
            observation.failed(error)
        observation.end()
    if span is None:
        return
    if error is not None:
        server_span.fail(span, error)
    span.end()


class _Body:
    """A response body that runs in the request's context, chunk by chunk."""

    def __init__(
        self, body: Iterable[bytes], context: Context, span: Span | None, observation: Observation | None
    ) -> None:
        self._body = body
        self._context = context
        self._span = span
        self._observation = observation
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._iterator is None:
                self._iterator = self._context.run(iter, self._body)
            return self._context.run(next, self._iterator)
        except StopIteration:
            self._finish()
            raise
        except BaseException as error:
            self._finish(error)
            raise

    def close(self) -> None:
        """Close the application's body in the request's context (PEP 3333: always called by the server)."""
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                self._context.run(close)
        finally:
            self._finish()

    def _finish(self, error: BaseException | None = None) -> None:
        span, self._span = self._span, None
        observation, self._observation = self._observation, None
        _end(span, observation, error)
