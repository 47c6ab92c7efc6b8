"""Which traces are kept: gray ones at a ratio of their own, all others at another (contract, §8).

A trace is judged when its first span starts, by the decision of the request it starts for, and by OpenTelemetry's own
rule for ratios (``TraceIdRatioBased``). Where an instrumentation around us starts that span before the request is
decided, it is recorded, and kept or dropped the moment the request is decided (``graymw.runtime.settling``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry.context.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, TraceFlags, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from graymw.runtime import counters, settling
from graymw.runtime.current import default_engine, judged_in
from graymw.settings.schema import Settings

log = logging.getLogger("graymw.telemetry")

_Pair: TypeAlias = tuple[TraceIdRatioBased, TraceIdRatioBased]


class GraySampler(Sampler):
    """Keeps gray traces at one ratio and all others at another; whatever has a parent goes with that.

    Args:
        gray: Share from 0 to 1 of the traces to keep of requests that are gray for any release. None: as
            ``GRAYMW_SAMPLE_GRAY`` says, now, also where a settings file changes it while the process runs; else all.
        stable: The same for all others, work outside any request included; ``GRAYMW_SAMPLE_STABLE``.
        parent_based: Whether a gray request goes with its caller, too, where the caller's process dropped the trace.
            False keeps gray traces at their ratio behind proxies, which sample without knowing what is gray.

    Raises:
        ValueError: A ratio is not from 0 to 1.
    """

    def __init__(self, gray: float | None = None, stable: float | None = None, *, parent_based: bool = True) -> None:
        for name, ratio in (("gray", gray), ("stable", stable)):
            if ratio is not None and not 0 <= ratio <= 1:
                raise ValueError(f"{name}={ratio!r} is no ratio: give a number from 0 to 1")
        self._given = gray, stable
        self._parent_based = parent_based
        self._settings: Settings | None = None
        self._pair = self._by(None)

    def should_sample(  # noqa: PLR0917 - the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Judge a span that starts. Never raises."""
        context = otel_context.get_current() if parent_context is None else parent_context
        parent = get_current_span(context).get_span_context()
        dropped_elsewhere = parent.is_valid and parent.is_remote and not parent.trace_flags.sampled
        sampler: Sampler
        if parent.is_valid and (self._parent_based or not dropped_elsewhere):
            sampler = ALWAYS_ON if parent.trace_flags.sampled else ALWAYS_OFF
        else:
            for_gray, for_stable = self._samplers()
            otherwise = ALWAYS_OFF if dropped_elsewhere else for_stable
            gray = _is_gray(context)
            if gray is None and kind is SpanKind.SERVER:
                return _postponed(context, trace_id, name, attributes, for_gray, otherwise)
            sampler = for_gray if gray else otherwise
        return sampler.should_sample(context, trace_id, name, attributes=attributes)

    def get_description(self) -> str:
        """As OpenTelemetry's samplers describe themselves."""
        rest = "" if self._parent_based else ",parentBased:false"
        gray, stable = self._samplers()
        return f"GraySampler{{gray:{gray.rate},stable:{stable.rate}{rest}}}"

    def _samplers(self) -> _Pair:
        """Of gray and of stable traces, by the settings in force now."""
        engine = default_engine()
        settings = engine.settings if engine is not None else None
        if settings is not self._settings:
            self._pair = self._by(settings)
            self._settings = settings
        return self._pair

    def _by(self, settings: Settings | None) -> _Pair:
        told = (settings.sample_gray, settings.sample_stable) if settings is not None else (None, None)
        gray, stable = (_first(given, set_) for given, set_ in zip(self._given, told, strict=True))
        return TraceIdRatioBased(gray), TraceIdRatioBased(stable)


def _first(given: float | None, told: float | None) -> float:
    if given is not None:
        return given
    return 1.0 if told is None else told


def _postponed(  # noqa: PLR0917 - as the SDK asks for it
    context: Context, trace_id: int, name: str, attributes: Attributes, for_gray: Sampler, otherwise: Sampler
) -> SamplingResult:
    """A request that nobody has decided yet: kept or dropped as a stable one until somebody has."""
    result = otherwise.should_sample(context, trace_id, name, attributes=attributes)
    kept = result.decision is Decision.RECORD_AND_SAMPLE
    if for_gray.should_sample(context, trace_id, name).decision is result.decision:
        return result

    def settle(span: Span, gray: bool) -> None:
        if gray:
            _mark(span, sampled=not kept)

    settling.postpone(trace_id, settle)
    return result if kept else SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)


def _is_gray(context: Context) -> bool | None:
    """Whether the request that a span starts for is gray; None where none is decided."""
    try:
        carried = judged_in(context)
    except Exception as error:  # noqa: BLE001 - the span of an application must start whatever we do
        counters.count("telemetry.error")
        counters.once(log, f"sampler:{type(error).__name__}", logging.ERROR, "a trace is judged as stable: %r", error)
        return False
    return None if carried is None else settling.is_gray(carried.gray)


def _mark(span: Any, *, sampled: bool) -> None:
    """Give a span that has just started another sampled flag. There is no public way: the SDK reads this attribute."""
    context = span.get_span_context()
    flags = context.trace_flags | TraceFlags.SAMPLED if sampled else context.trace_flags & ~TraceFlags.SAMPLED
    span._context = SpanContext(  # noqa: SLF001 - as above
        context.trace_id, context.span_id, context.is_remote, TraceFlags(flags), context.trace_state
    )
