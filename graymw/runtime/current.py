"""The gray context of the work at hand, kept in the OpenTelemetry context so that whatever carries that carries ours.

Two places hold it. The OpenTelemetry context holds what was attached (under a key of our own, and as baggage). A
``ContextVar`` of ours remembers the request, because server instrumentations that run inside our middleware extract
the headers into an *empty* context: what we attached is gone there, and only the baggage in the rewritten header is
left, without rule and reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Final

from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context
from opentelemetry.context.context import Context
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from graymw.core import names
from graymw.core.carrying import wire
from graymw.core.carrying.application_baggage import decode_application
from graymw.core.context import UNDECIDED, Decision, GrayContext
from graymw.core.facts import RequestFacts
from graymw.runtime import tracing

if TYPE_CHECKING:
    from graymw.runtime.engine import Engine, Snapshot

CARRIED_KEY: Final = otel_context.create_key("graymw")
BAGGAGE_KEY: Final[str] = next(iter(otel_baggage.set_baggage("probe", "", Context())))
"""Where OpenTelemetry keeps baggage in a context, as ``dict``; its API sets one entry a call, we set all at once."""


SPAN_KEY: Final[str] = next(iter(set_span_in_context(INVALID_SPAN, Context())))
"""Where OpenTelemetry keeps the current span in a context."""


class Carried:
    """What one piece of work carries.

    Args:
        snapshot: The rules it was decided by; default: those in force.

    Attributes:
        snapshot: The rules that hold for all of this work, whatever comes into force meanwhile.
        application: The application's own baggage members as they came in, verbatim.
        facts: Of the request, where the balancer asks for them; None where it does not, or there is no request.
        baggage: The same and ours, as OpenTelemetry baggage; ours first.
    """

    __slots__ = ("application", "baggage", "context", "engine", "facts", "gray", "snapshot")

    def __init__(
        self, engine: Engine, gray: GrayContext, application: str = "", snapshot: Snapshot | None = None
    ) -> None:
        self.engine = engine
        self.snapshot = engine.snapshot if snapshot is None else snapshot
        self.gray = gray
        self.application = application
        self.facts: RequestFacts | None = None
        entries: dict[str, object] = dict(gray.members)
        if application:
            entries.update(decode_application(application))
        self.baggage: Mapping[str, object] = entries
        self.context: Context = Context({CARRIED_KEY: self, BAGGAGE_KEY: self.baggage})
        """OpenTelemetry context that holds this and nothing else."""


REQUEST: Final[ContextVar[Carried | None]] = ContextVar("graymw_request", default=None)
_default_engine: Engine | None = None


def default_engine() -> Engine | None:
    """Engine of work outside any request: the one installed last."""
    return _default_engine


def set_default_engine(engine: Engine | None) -> None:
    """Make ``engine`` answer for work outside any request."""
    global _default_engine  # noqa: PLW0603 - one process, one default, as the client patches are process-wide
    _default_engine = engine


def carried_in(context: Context) -> Carried | None:
    """What an OpenTelemetry context carries; None where it carries nothing of ours."""
    carried = context.get(CARRIED_KEY)
    entries = context.get(BAGGAGE_KEY)
    if isinstance(carried, Carried):
        return carried
    if not isinstance(entries, Mapping) or not any(map(wire.is_ours, entries)):
        return None if tracing.propagation().w3c_baggage else REQUEST.get()
    return agreeing_request(context) or _from_baggage(entries)


def agreeing_request(context: Context) -> Carried | None:
    """The request of this task or thread, where a context that an instrumentation inside of us made does not deny it.

    Such a context holds what was extracted from the header we wrote; nothing of ours where the process's propagator
    reads no W3C baggage.
    """
    request = REQUEST.get()
    if request is None:
        return None
    entries = context.get(BAGGAGE_KEY)
    told = entries if isinstance(entries, Mapping) else {}
    if not tracing.propagation().w3c_baggage and not any(map(wire.is_ours, told)):
        return request
    return request if all(told.get(key) == value for key, value in request.gray.members) else None


def judged_in(context: Context) -> Carried | None:
    """What our own middleware put into a context that a span starts in, or the request whose baggage that agrees with.

    Bare baggage counts for nothing: a server instrumentation around us starts its span with the caller's, before we
    have judged whether that may be believed.
    """
    carried = context.get(CARRIED_KEY)
    if isinstance(carried, Carried):
        return carried
    request = agreeing_request(context)
    return request if request is not None and request.gray.members else None


def _from_baggage(entries: Mapping[str, object]) -> Carried | None:
    """What a thread or task was handed as bare baggage; counts only where a middleware of ours cleans what comes in."""
    engine = _default_engine
    if engine is None or not engine.guards_inbound:
        return None
    gray_text = ",".join(f"{key}={value}" for key, value in entries.items() if wire.is_ours(key))
    snapshot = engine.snapshot
    return Carried(engine, snapshot.inherit(gray_text).gray, "", snapshot)


def current_carried() -> Carried | None:
    """What the work at hand carries; None outside any request."""
    return carried_in(otel_context.get_current())


def current() -> GrayContext:
    """Gray context of the work at hand: the request's, or the one set by ``use``; undecided outside both."""
    carried = current_carried()
    return UNDECIDED if carried is None else carried.gray


def merged(ambient: Context, carried: Carried, baggage: Mapping[str, object]) -> Context:
    """``ambient`` with what ``carried`` and ``baggage`` say in the place of what stood there."""
    return Context({**ambient, CARRIED_KEY: carried, BAGGAGE_KEY: baggage})


def application_entries(entries: Mapping[str, object]) -> dict[str, object]:
    """Baggage without our members."""
    return {key: value for key, value in entries.items() if not wire.is_ours(key)}


def attach(context: Context, carried: Carried) -> tuple[Token[Context], Token[Carried | None]]:
    """Make both current; give what it returns to ``detach``, in the same task or thread."""
    request_token = REQUEST.set(carried)
    return otel_context.attach(context), request_token


def detach(tokens: tuple[Token[Context], Token[Carried | None]]) -> None:
    """Undo ``attach``. Never raises: work that was moved to another context leaves nothing to undo."""
    context_token, request_token = tokens
    otel_context.detach(context_token)
    try:
        REQUEST.reset(request_token)
    except ValueError:
        REQUEST.set(None)


@contextmanager
def override(engine: Engine, release: str, version: str) -> Iterator[GrayContext]:
    """Override the version of one release for the work inside.

    Args:
        engine: Answers where no request is at hand.
        release: Name of the release; it need not be known to this process.
        version: The version that calls made inside go to.

    Yields:
        The context in force, with every other decision of the work at hand kept.

    Raises:
        ValueError: ``release`` or ``version`` has characters that may not travel.
    """
    if not names.is_release(release) or not names.is_version(version):
        raise ValueError(f"not a release and version: {release!r}, {version!r}; a version looks like v2 or 1.10")
    ambient = otel_context.get_current()
    before = carried_in(ambient)
    engine = before.engine if before else engine
    snapshot = before.snapshot if before else engine.snapshot
    gray = _overridden(snapshot, before.gray if before else UNDECIDED, release, version)
    carried = Carried(engine, gray, before.application if before else "", snapshot)
    carried.facts = before.facts if before else None
    entries = ambient.get(BAGGAGE_KEY)
    application = application_entries(entries) if isinstance(entries, Mapping) else {}
    tokens = attach(merged(ambient, carried, {**dict(gray.members), **application}), carried)
    try:
        yield gray
    finally:
        detach(tokens)


def _overridden(snapshot: Snapshot, gray: GrayContext, release: str, version: str) -> GrayContext:
    known = {known.name: known.stable for known in snapshot.document.releases}
    revision = gray.revision or snapshot.rules.revision or None
    decision = Decision(release, version, "override", None, revision, known.get(release, snapshot.stable_elsewhere))
    governing = snapshot.document.governing(snapshot.service)
    return GrayContext(
        {**gray.decisions, release: decision}.values(),
        revision=revision,
        primary=governing.name if governing else None,
    )
