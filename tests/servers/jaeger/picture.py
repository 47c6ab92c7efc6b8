"""Draws a gray trace, as a real Jaeger answers it, for the README.

python tests/servers/jaeger/picture.py > docs/trace.svg
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from example_chain import asked, is_whole, services, serving
from real_jaeger import Span, running
from waiting import eventually

from graymw.demo import trace_view
from graymw.demo.people import User
from graymw.demo.spans import ExportedSpan, Value

WIDTH, TOP, ROW, BARS, BARS_WIDTH = 920, 112, 50, 600, 230
INK, PALE, GRAY, LINE = "#0f172a", "#64748b", "#6d28d9", "#e2e8f0"
COLOURS = {"edge": "#0891b2", "orders": "#d97706", "payments": "#059669"}
MONOSPACE = "ui-monospace, Menlo, Consolas, monospace"


def whole_trace() -> tuple[list[Span], list[Span]]:
    """The trace of one request of user 40, and of it the spans that are worth a row."""
    folder = Path(tempfile.mkdtemp())
    with running(folder) as jaeger:
        with serving(services(folder, jaeger)) as client:
            asked(client, User("40"))  # the first request of a process is slower than all others
            trace_id = asked(client, User("40")).trace_id
            eventually(lambda: is_whole(jaeger.trace(trace_id)), 30)
        trace = jaeger.find("edge", {"gray.version": "v2"})[trace_id]
    shown = {span.span_id for span in trace_view.without_idle_internal([exported(span) for span in trace])}
    return trace, [span for span in trace if span.span_id in shown]


def exported(span: Span) -> ExportedSpan:
    return ExportedSpan(
        span.trace_id, span.span_id, span.parent_id, span.name, span.kind, span.start, span.end,
        failed=False, attributes=span.attributes, resource={"service.name": span.service},
    )  # fmt: skip


def text(x: float, y: float, what: str, colour: str = PALE, size: float = 12, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}"{more}>{what}</text>'


def strong(what: str) -> str:
    return f'<tspan fill="{INK}" font-size="13" font-weight="600">{escape(what)}</tspan>'


def attributes(x: float, y: float, values: Mapping[str, Value]) -> str:
    return text(x, y, escape(trace_view.attributes(values).plain), GRAY, 11, f' font-family="{MONOSPACE}"')


def drawn(trace: Sequence[Span], shown: Sequence[Span]) -> Iterator[str]:
    """Lines of the picture."""
    spans = [exported(span) for span in shown]
    versions = {span.service: span.version for span in shown}
    common = trace_view.common_attributes(spans)
    rows = trace_view.rows(spans)
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    height = TOP + ROW * len(rows) + 14
    hidden = len(trace) - len(shown)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="ui-sans-serif, Helvetica, Arial, sans-serif"'
        ' aria-label="A trace of three services in which every span carries gray.version=v2">'
    )
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    yield text(24, 32, "Found in Jaeger by service edge and tag gray.version=v2", INK, 15)
    note = f"trace {trace[0].trace_id}, {len(trace)} spans"
    yield text(24, 52, f"{note} ({hidden} internal ones of the framework not drawn)" if hidden else note)
    yield text(24, 80, "on every span")
    yield attributes(116, 80, common)
    for number, row in enumerate(rows):
        y, span = TOP + ROW * number, row.span
        indent, colour = 24 + 4 * len(row.branch), COLOURS[span.service]
        yield f'<path d="M24 {y - 14}H{WIDTH - 24}" stroke="{LINE}"/>'
        yield f'<rect x="{indent}" y="{y - 6}" width="4" height="34" rx="2" fill="{colour}"/>'
        name = f"{span.service} {versions[span.service]}"
        yield text(indent + 12, y + 8, f'{strong(name)}<tspan dx="10">{escape(span.name)}</tspan> {span.kind}')
        yield attributes(indent + 12, y + 26, {key: value for key, value in span.gray.items() if key not in common})
        left = BARS + (span.start - start) / (end - start) * BARS_WIDTH
        width = max(2.0, (span.end - span.start) / (end - start) * BARS_WIDTH)
        yield f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="10" rx="3" fill="{colour}"/>'
        yield text(WIDTH - 24, y + 9, f"{span.milliseconds:.2f} ms", PALE, 11, ' text-anchor="end"')
    yield "</svg>"


if __name__ == "__main__":
    print("\n".join(drawn(*whole_trace())))
