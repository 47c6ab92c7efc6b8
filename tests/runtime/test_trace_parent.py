"""``traceparent`` is read as OpenTelemetry's own propagator reads it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import propagate, trace
from opentelemetry.context.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from graymw.runtime import counters
from graymw.runtime.trace_parent import caller_span, carrier_headers, remote_parent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

hexadecimal = st.text("0123456789abcdefABCDEFg -_", max_size=40)
headers = st.one_of(
    st.text(max_size=70),
    st.builds(
        "-".join,
        st.tuples(
            st.sampled_from(["00", "01", "ff", "cc", "0", "000"]),
            st.sampled_from([TRACE, "0" * 32, TRACE.upper()]) | hexadecimal,
            st.sampled_from([SPAN, "0" * 16]) | hexadecimal,
            st.sampled_from(["00", "01", "ff", "0x", "1"]),
        ),
    ).flatmap(
        lambda text: st.sampled_from([text, text + "-more", text + "more", text + "-", f" {text} ", text + "\n"])
    ),
)


@given(header=headers)
@example(header=f"00-{TRACE}-{SPAN}-01")
@example(header=f"cc-{TRACE}-{SPAN}-01-what-comes-later")
@example(header=f"00-{TRACE}-{SPAN}-01-what-comes-later")
def test_the_same_headers_are_valid_and_mean_the_same(header: str) -> None:
    theirs = trace.get_current_span(
        TraceContextTextMapPropagator().extract({"traceparent": header}, context=Context())
    ).get_span_context()
    ours = remote_parent(header)
    if ours is None:
        assert not theirs.is_valid or header != header.strip() or theirs.trace_id == 0
        return
    mine = ours.get_span_context()
    assert mine.is_remote
    if theirs.is_valid:
        assert (mine.trace_id, mine.span_id, mine.trace_flags) == (theirs.trace_id, theirs.span_id, theirs.trace_flags)
    else:
        assert header != header.strip(), "only blanks around it make a difference"


def test_tracestate_comes_along_and_goes_on() -> None:
    span = remote_parent(f"00-{TRACE}-{SPAN}-01", "vendor=1,other=2")
    assert span is not None
    assert carrier_headers(span.get_span_context()) == (
        ("traceparent", f"00-{TRACE}-{SPAN}-01"),
        ("tracestate", "vendor=1,other=2"),
    )


@pytest.mark.parametrize(
    "tracestate",
    [
        "a=" + "v" * 600,
        ",".join(f"k{number}=v" for number in range(33)),
        "a=b" + " " * 60_000 + "x",
        "a=b," + "\t" * 60_000 + "x" * 600,
    ],
    ids=["long-member", "many-members", "blanks", "tabs"],
)
def test_tracestate_over_the_limits_does_not_reach_the_parser(
    tracestate: str, caplog: pytest.LogCaptureFixture
) -> None:
    span = remote_parent(f"00-{TRACE}-{SPAN}-01", tracestate)
    assert span is not None
    assert carrier_headers(span.get_span_context()) == (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
    assert not caplog.records


def test_other_propagators_are_given_no_more_than_the_limits_allow(caplog: pytest.LogCaptureFixture) -> None:
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([*before._propagators, CompositePropagator([])]))
    fields = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=" + "v" * 9_000, "baggage": "k=" + "v" * 9_000}
    try:
        span = caller_span(fields)
    finally:
        propagate.set_global_textmap(before)
    assert span is not None
    assert carrier_headers(span.get_span_context()) == (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
    assert not caplog.records


def test_a_propagator_that_stumbles_over_a_header_costs_no_more_than_the_trace() -> None:
    class Stumbling(TraceContextTextMapPropagator):
        def extract(self, *args: object, **kwargs: object) -> Context:
            raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")

    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Stumbling())
    try:
        assert caller_span({"traceparent": f"00-{TRACE}-{SPAN}-01"}) is None
    finally:
        propagate.set_global_textmap(before)
    assert counters.snapshot()["telemetry.error"] == 1


def test_blanks_around_the_members_of_tracestate_do_not_matter() -> None:
    span = remote_parent(f"00-{TRACE}-{SPAN}-01", "a=1" + " " * 60_000 + ",\t b=2 ")
    assert span is not None
    assert carrier_headers(span.get_span_context())[1] == ("tracestate", "a=1,b=2")


def test_an_invalid_span_has_no_headers() -> None:
    assert carrier_headers(trace.INVALID_SPAN_CONTEXT) == ()


@pytest.mark.parametrize("flags", [0, 1])
def test_a_span_of_this_process_is_named_for_the_next(flags: int) -> None:
    context = SpanContext(
        int(TRACE, 16), int(SPAN, 16), is_remote=False, trace_flags=TraceFlags(flags), trace_state=TraceState()
    )
    assert carrier_headers(context) == (("traceparent", f"00-{TRACE}-{SPAN}-0{flags}"),)
