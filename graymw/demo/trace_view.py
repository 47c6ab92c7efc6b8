"""One trace as a tree of spans, each with its gray attributes and its place in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from graymw.demo.spans import ExportedSpan, Value

WIDTH: Final = 100
NAME_WIDTH: Final = 54
BAR_WIDTH: Final = 24
MIN_BAR_WIDTH: Final = 4
TIME_WIDTH: Final = 13
_ORDER: Final = (
    "gray.release",
    "gray.version",
    "gray.active",
    "gray.context",
    "gray.reason",
    "gray.rule",
    "gray.served_version",
    "gray.honoured",
    "gray.target_version",
    "gray.revision",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A span in its place: ``branch`` leads to its own line, ``stem`` to the lines below it."""

    span: ExportedSpan
    branch: str
    stem: str


def rows(trace: Sequence[ExportedSpan]) -> list[Row]:
    """Spans in the order of the tree; one whose parent is not there is a root."""
    ids = {span.span_id for span in trace}
    children: dict[str, list[ExportedSpan]] = {}
    for span in sorted(trace, key=lambda span: span.start):
        children.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)
    return list(_below("", "", children, set()))


def _below(parent: str, stem: str, children: Mapping[str, Sequence[ExportedSpan]], seen: set[str]) -> Iterator[Row]:
    level = [span for span in children.get(parent, ()) if span.span_id not in seen]
    seen.update(span.span_id for span in level)
    for span in level:
        is_last = span is level[-1]
        if not parent:
            branch, below = "", ""
        else:
            branch, below = stem + ("└─ " if is_last else "├─ "), stem + ("   " if is_last else "│  ")
        has_children = any(child.span_id not in seen for child in children.get(span.span_id, ()))
        yield Row(span, branch, below + ("│  " if has_children else "   "))
        yield from _below(span.span_id, below, children, seen)


def without_idle_internal(trace: Sequence[ExportedSpan]) -> list[ExportedSpan]:
    """Spans without those internal ones of a framework that led to no call and say nothing of their own."""
    parents = {span.parent_id for span in trace}
    common = common_attributes(trace)
    return [
        span
        for span in trace
        if span.kind != "internal" or span.span_id in parents or span.gray.items() - common.items()
    ]


def common_attributes(trace: Iterable[ExportedSpan]) -> dict[str, Value]:
    """Gray attributes that all spans with any share."""
    tagged = [span.gray for span in trace if span.gray]
    if not tagged:
        return {}
    return {key: value for key, value in tagged[0].items() if all(other.get(key) == value for other in tagged)}


def tree(trace: Sequence[ExportedSpan], versions: Mapping[str, str], width: int = WIDTH) -> Iterator[Text]:
    """Lines of the tree; what spans share is told once, above it.

    Args:
        trace: Its spans.
        versions: Version by service, where one is shown.
        width: Columns that lines may take; below some 75 they take more.
    """
    if not trace:
        return
    common = common_attributes(trace)
    of_servers = common_attributes(span for span in trace if span.kind == "server")
    yield from _packed("  on every span    ", common, width)
    yield from _packed("  on server spans  ", _less(of_servers, common), width)
    yield Text()
    start = min(span.start for span in trace)
    length = max(max(span.end for span in trace) - start, 1)
    cells = min(BAR_WIDTH, max(MIN_BAR_WIDTH, width - NAME_WIDTH - TIME_WIDTH))
    for row in rows(trace):
        yield _head(row, versions, start, length, cells)
        told = common | of_servers if row.span.kind == "server" else common
        yield from _packed(f"  {row.stem}", _less(row.span.gray, told), width)


def _less(values: Mapping[str, Value], told: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if key not in told}


def _packed(stem: str, values: Mapping[str, Value], width: int) -> Iterator[Text]:
    """Attributes on as many lines as they need, each behind the stem."""
    line: Text | None = None
    for key in sorted(values, key=_place):
        item = attributes({key: values[key]})
        if line is not None and line.cell_len + 1 + item.cell_len > width:
            yield line
            line = None
        line = Text.assemble((stem, "dim")) if line is None else line.append(" ")
        line.append_text(item)
    if line is not None:
        yield line


def _place(key: str) -> tuple[int, str]:
    return _ORDER.index(key) if key in _ORDER else len(_ORDER), key


def attributes(values: Mapping[str, Value]) -> Text:
    """``gray.version=v2 gray.active=true …``."""
    text = Text()
    for key in sorted(values, key=_place):
        value = values[key]
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        text.append(" " if text else "")
        text.append(f"{key}=", style="dim")
        text.append(shown, style="magenta")
    return text


def _head(row: Row, versions: Mapping[str, str], start: int, length: int, cells: int) -> Text:
    span = row.span
    line = Text("  ")
    line.append(row.branch, style="dim")
    version = versions.get(span.service, "") if span.kind == "server" else ""
    line.append(f"{span.service} {version}".strip(), style="bold" if span.kind == "server" else "")
    line.append(f"  {span.name}", style="red" if span.failed else "")
    line.append(f"  {span.kind}", style="dim")
    line.truncate(NAME_WIDTH, overflow="ellipsis", pad=True)
    first = min(round((span.start - start) / length * cells), cells - 1)
    taken = max(1, round((span.end - span.start) / length * cells))
    bar = " " * first + "━" * min(taken, cells - first)
    line.append(f" {bar:<{cells}}", style="cyan")
    line.append(f" {span.milliseconds:8.2f} ms")
    return line
