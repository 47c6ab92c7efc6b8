"""YAML text to a tree and back, by the core schema of YAML 1.2: ``no``, ``on`` and dates stay text.

Works on parser events without recursion: depth, number of nodes and what aliases expand to are bounded while reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import yaml

from graymw.core.document.tree import MAX_DEPTH, MAX_NODES, Node, Problems, Value, is_whole, join, shown

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
# A parser compares each new directive with all before it; nobody needs more than the two there are.
_DIRECTIVES = re.compile(r"^%", re.MULTILINE)
_MAX_DIRECTIVES = 16

_MENDS: Final = (
    ("a tab that", "indent with spaces: YAML forbids tabs there"),
    ("cannot start any token", "put the value in quotes"),
    ("mapping values are not allowed", "check the indentation, or put a text with a colon in quotes"),
    ("undefined alias", "define the anchor with & before the alias"),
    ("special characters", "remove the control character"),
    ("control characters", "remove the control character"),
)


class _StopReadingError(Exception):
    """A bound was passed: the rest is not worth reading."""


class _Frame:
    """A list or mapping that is still open."""

    __slots__ = ("anchor", "key", "keyed", "merged", "node", "path")

    def __init__(self, node: Node, path: str, anchor: str | None) -> None:
        self.node = node
        self.path = path
        self.anchor = anchor
        self.keyed = False
        self.key: tuple[str, int, int, bool] | None = None
        self.merged: list[Node] = []


def read(text: str, problems: Problems) -> Node | None:
    """Tree of a YAML text, None where its syntax is broken; reports every problem found."""
    if len(_DIRECTIVES.findall(text)) > _MAX_DIRECTIVES:
        problems.add("", "too many lines start with %", "remove the YAML directives")
        return None
    builder = _Builder(problems)
    try:
        loader = _Loader(text)
        try:
            builder.consume(loader)
        finally:
            loader.dispose()
    except _StopReadingError:
        return None
    except yaml.YAMLError as error:
        _report(error, text, problems)
        return None
    except (ValueError, OverflowError) as error:
        # The Python scanner passes impossible \U escapes on to chr().
        problems.add("", f"not YAML: {error}", "mend the escape sequence")
        return None
    if builder.root is None:
        problems.add("", "the document is empty", "write at least `releases: {}`", line=1)
    return builder.root


class _Dumper(yaml.SafeDumper):
    """Quotes what the core schema would not read as text, besides what YAML 1.1 would not."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML lets characters pass unescaped that its own reader takes for line breaks.
    return dumper.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)
_NUMBER = re.compile(f"(?:{_INT.pattern}|{_FLOAT.pattern})$")
_Dumper.add_implicit_resolver(f"{_TAG}float", _NUMBER, list("+-.0123456789"))


def write(values: object) -> str:
    """YAML text of plain dicts, lists and scalars in their order; readers of YAML 1.1 understand it alike."""
    return yaml.dump(values, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=120)


def _report(error: yaml.YAMLError, text: str, problems: Problems) -> None:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, index = (None, 0) if mark is None else (mark.line + 1, mark.index)
    told = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable")
    if mark is not None and text[index : index + 1] == "\t":
        told = told.replace("found character that", "found a tab that").replace("character '\\t'", "a tab")
    context = getattr(error, "context", None)
    mend = next((mend for sign, mend in _MENDS if sign in told), "check quotes, brackets and indentation near here")
    message = f"not YAML: {told}" + (f" ({context})" if context else "")
    problems.add("", message, mend, line=line, order=index)


class _Builder:
    """Builds the tree out of parser events."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0
        self._documents = 0

    def consume(self, loader: Any) -> None:
        """Take every event of a text."""
        takers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        while True:
            event = loader.get_event()
            if event is None or isinstance(event, yaml.StreamEndEvent):
                return
            take = takers.get(type(event))
            if take is not None:
                take(event)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(event, "a second document begins", "keep one document in the text: remove the line ---")

    def _stop(self, event: Any, message: str, mend: str) -> None:
        self._report(self._path(), event, message, mend)
        raise _StopReadingError

    def _report(self, path: str, event: Any, message: str, mend: str) -> None:
        mark = event.start_mark
        self._problems.add(path, message, mend, line=mark.line + 1, order=mark.index)

    def _path(self) -> str:
        """Path of the value that comes next."""
        if not self._frames:
            return ""
        frame = self._frames[-1]
        if isinstance(frame.node.value, list):
            return f"{frame.path}[{len(frame.node.value)}]"
        return frame.path if frame.key is None else join(frame.path, frame.key[0])

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(event, f"more than {MAX_NODES} values, aliases counted in", "split the document or drop aliases")

    def _scalar(self, event: Any) -> None:
        self._count(event, 1)
        mark = event.start_mark
        if self._expects_key():
            self._key(event)
            return
        value, raw = self._resolve(event)
        if not is_whole(raw):
            # Only the Python scanner lets such an escape through.
            self._report(self._path(), event, "half a surrogate pair", "write the character itself")
            value = raw = ""
        node = Node(value, raw=raw, line=mark.line + 1, order=mark.index)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._place(node)

    def _expects_key(self) -> bool:
        return bool(self._frames) and isinstance(self._frames[-1].node.value, dict) and not self._frames[-1].keyed

    def _key(self, event: Any) -> None:
        frame = self._frames[-1]
        if not is_whole(event.value):
            self._stop(event, "half a surrogate pair in a key", "write the character itself")
        merge = event.value == "<<" and event.implicit[0]
        members = frame.node.value
        if isinstance(members, dict) and event.value in members and not merge:
            first = members[event.value].line
            self._report(
                join(frame.path, event.value),
                event,
                f"the key {shown(event.value)} stands twice, first on line {first}",
                "keep one of the two",
            )
        frame.key = (event.value, event.start_mark.line + 1, event.start_mark.index, merge)
        frame.keyed = True

    def _resolve(self, event: Any) -> tuple[Value, str]:
        text: str = event.value
        tag = event.tag
        if tag is None:
            return (resolve(text) if event.implicit[0] else text), text
        if tag in {"!", _TAG + "str"}:
            return text, text
        if tag.startswith(_TAG):
            value = resolve(text)
            if type(value).__name__ == {"null": "NoneType"}.get(tag[len(_TAG) :], tag[len(_TAG) :]):
                return value, text
        self._report(self._path(), event, f"unknown tag {shown(tag)}", "remove the tag")
        return text, text

    def _open(self, event: Any) -> None:
        self._count(event, 1)
        if len(self._frames) >= MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels", "flatten the document")
        mark = event.start_mark
        node = Node({} if isinstance(event, yaml.MappingStartEvent) else [], line=mark.line + 1, order=mark.index)
        if event.tag not in {None, "!", _TAG + "map", _TAG + "seq"}:
            self._report(self._path(), event, f"unknown tag {shown(event.tag)}", "remove the tag")
        if self._expects_key():
            frame = self._frames[-1]
            self._report(
                frame.path, event, "a key is itself a list or mapping", "put a text that begins with [ or { in quotes"
            )
            frame.keyed = True
            frame.key = None
            # What stands in the key is read but belongs nowhere; its end leaves the value to come.
            self._frames.append(_Frame(node, frame.path, None))
            self._frames[-1].anchor = _IN_KEY
            return
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._frames.append(_Frame(node, self._path(), event.anchor))

    def _close(self, _: Any) -> None:
        frame = self._frames.pop()
        self._merge(frame)
        if frame.anchor is _IN_KEY:
            return
        if frame.anchor is not None:
            self._anchors[frame.anchor] = frame.node
        self._place(frame.node)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._stop(event, f"unknown alias {shown(event.anchor)}", "define the anchor with & before the alias")
        target = self._anchors[event.anchor]
        if target is None:
            self._stop(event, f"the alias {shown(event.anchor)} stands inside what it names", "write the value out")
            return
        self._count(event, target.size)
        if len(self._frames) + target.height > MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels", "write the value out, flatter")
        if self._expects_key():
            self._report(self._frames[-1].path, event, "a key is an alias", "write the key out")
            self._frames[-1].keyed = True
            self._frames[-1].key = None
            return
        self._place(target)

    def _place(self, node: Node) -> None:
        """Put a finished value where it belongs."""
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        container = frame.node
        if isinstance(container.value, list):
            container.value.append(node)
            container.adopt(node)
        elif isinstance(container.value, dict):
            frame.keyed = False
            if frame.key is None:
                return
            name, line, order, merge = frame.key
            frame.key = None
            if merge:
                self._to_merge(frame, node, line, order)
            else:
                container.value[name] = node.moved(line, order)
                container.adopt(node)

    def _to_merge(self, frame: _Frame, node: Node, line: int, order: int) -> None:
        sources = node.value if isinstance(node.value, list) else [node]
        for source in sources:
            if isinstance(source.value, dict):
                frame.merged.append(source)
            else:
                self._problems.add(
                    join(frame.path, "<<"),
                    "<< merges mappings only",
                    "name an anchor of a mapping",
                    line=line,
                    order=order,
                )

    def _merge(self, frame: _Frame) -> None:
        """Members of merged mappings come after the written ones and never replace one."""
        members = frame.node.value
        if not isinstance(members, dict):
            return
        for source in frame.merged:
            if isinstance(source.value, dict):
                for key, node in source.value.items():
                    if key not in members:
                        members[key] = node
                        frame.node.adopt(node)


_IN_KEY: Final = "\0in a key"


def resolve(text: str) -> Value:
    """Value of a plain scalar by the core schema (YAML 1.2.2, §10.3.2)."""
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] in "+-.0123456789":
        if _INT.fullmatch(text):
            return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
        if _FLOAT.fullmatch(text):
            # float() knows inf and nan without the dot that YAML writes before them.
            return float(text.replace(".", "", 1) if text[-1] in "fFnN" else text)
    return text
