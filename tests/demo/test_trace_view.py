from __future__ import annotations

import pytest

from graymw.demo import trace_view

from .making import span

GRAY = {"gray.version": "v2", "gray.release": "checkout"}


def shape(*spans: object) -> list[str]:
    return [row.branch + row.span.span_id for row in trace_view.rows(list(spans))]  # type: ignore[arg-type]


def test_children_stand_below_their_parent_in_the_order_of_their_start() -> None:
    assert shape(
        span(span_id="second", parent_id="root", start=3),
        span(span_id="grandchild", parent_id="first", start=2),
        span(span_id="first", parent_id="root", start=1),
        span(span_id="root"),
    ) == ["root", "├─ first", "│  └─ grandchild", "└─ second"]


def test_a_span_whose_parent_is_not_there_is_a_root() -> None:
    assert shape(span(span_id="a", parent_id="elsewhere"), span(span_id="b", start=1)) == ["a", "b"]


def test_spans_that_are_their_own_ancestors_do_not_hang_it() -> None:
    assert shape(span(span_id="a", parent_id="b"), span(span_id="b", parent_id="a")) == []
    assert shape(span(span_id="a", parent_id="a")) == []


def test_what_all_tagged_spans_share_is_common() -> None:
    spans = [
        span(span_id="root"),
        span(span_id="a", attributes={**GRAY, "gray.reason": "match"}),
        span(span_id="b", attributes={**GRAY, "gray.reason": "inherited"}),
    ]
    assert trace_view.common_attributes(spans) == GRAY
    assert trace_view.common_attributes([span()]) == {}


@pytest.mark.parametrize("width", [75, 100])
def test_every_line_is_within_the_width_and_own_attributes_are_all_shown(width: int) -> None:
    own = {"gray.reason": "match", "gray.rule": "r" * 40, "gray.revision": "9f3c2a11", "gray.honoured": True}
    spans = [span(span_id="a", name="GET /" + "x" * 90, attributes={**GRAY, **own})]
    parent = "a"
    for depth in range(6):
        spans.append(
            span(span_id=f"d{depth}", parent_id=parent, start=depth, attributes=GRAY | {"gray.rule": "q" * 40})
        )
        parent = f"d{depth}"
    lines = [line.plain for line in trace_view.tree(spans, {"orders": "v2"}, width)]
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "orders v2" in text
    assert all(f"{key}={str(value).lower() if value is True else value}" in text for key, value in own.items())
    assert text.count("gray.version=v2") == text.count("gray.release=checkout") == 1


def test_bars_lie_where_the_spans_lay() -> None:
    spans = [span(span_id="a", start=0), span(span_id="b", start=1_000_000)]
    _, first, second = (line.plain for line in trace_view.tree(spans, {}))
    assert first.index("━") < second.index("━")
    assert first.rindex("━") < second.rindex("━")


def test_no_spans_no_lines() -> None:
    assert list(trace_view.tree([], {})) == []


def test_what_all_server_spans_share_is_told_once_above_them() -> None:
    attributes = {**GRAY, "gray.revision": "9f3c2a11"}
    spans = [
        span(span_id="a", attributes={**attributes, "gray.reason": "match"}),
        span(span_id="b", parent_id="a", kind="client", attributes=GRAY),
        span(span_id="c", parent_id="b", attributes={**attributes, "gray.reason": "inherited"}),
    ]
    lines = [line.plain.split() for line in trace_view.tree(spans, {})]
    assert lines[0] == ["on", "every", "span", "gray.release=checkout", "gray.version=v2"]
    assert lines[1] == ["on", "server", "spans", "gray.revision=9f3c2a11"]
    assert [words for words in lines if "gray.reason=inherited" in words] == [["gray.reason=inherited"]]


def test_internal_spans_without_calls_below_them_are_left_out() -> None:
    spans = [
        span(span_id="a", attributes=GRAY),
        span(span_id="idle", parent_id="a", kind="internal", attributes=GRAY),
        span(span_id="telling", parent_id="a", kind="internal", attributes={**GRAY, "gray.fallback": True}),
        span(span_id="calling", parent_id="a", kind="internal", attributes=GRAY),
        span(span_id="call", parent_id="calling", kind="client", attributes=GRAY),
    ]
    left = [entry.span_id for entry in trace_view.without_idle_internal(spans)]
    assert left == ["a", "telling", "calling", "call"]
