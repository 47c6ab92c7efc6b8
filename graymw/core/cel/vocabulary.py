"""What an expression may name: the variables of a request and the functions of the library."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from graymw.core.model import Fact

MapKind: TypeAlias = Literal["header", "cookie", "query"]

VARIABLES: Final = {name: Fact(name) for name in ("user", "region", "device", "ip")}
"""Plain variables; ``uid`` is ``user`` as a number where it is one."""
UID: Final = "uid"
MAPS: Final[dict[str, MapKind]] = {"cookies": "cookie", "query": "query"}
REQUEST: Final = "request"
HEADERS: Final = "headers"
REQUEST_ATTRIBUTES: Final = {
    "method": Fact("method"),
    "path": Fact("path"),
    "url_path": Fact("path"),
    "host": Fact("host"),
    "useragent": Fact("header", "user-agent"),
    "referer": Fact("header", "referer"),
    "id": Fact("header", "x-request-id"),
}
TYPE_NAMES: Final = frozenset({
    "bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint",
})  # fmt: skip

MACROS: Final = {"all": 2, "exists": 2, "exists_one": 2, "existsOne": 2, "filter": 2, "map": 2}
"""Loops by name, with their number of arguments (``map`` takes three as well)."""
FUNCTIONS: Final = {
    "size": "int",
    "int": "int",
    "uint": "uint",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
    "type": "type",
    "dyn": None,
    "duration": "duration",
    "timestamp": "timestamp",
}
"""Called with one argument, ``int(x)``; with the type of what they yield."""
METHODS: Final = {
    "size": (0, "int"),
    "contains": (1, "bool"),
    "startsWith": (1, "bool"),
    "endsWith": (1, "bool"),
    "matches": (1, "bool"),
    **dict.fromkeys(
        (
            "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
            "getHours", "getMinutes", "getSeconds", "getMilliseconds",
        ),
        (0, "int"),
    ),
}  # fmt: skip
"""Called on a value, ``x.contains(y)``: number of arguments and type of what they yield."""

_HINTS: Final = {
    "query": "write query['name']",
    "time": "write after or before in match",
    "cookies": "write cookies['name']",
    "user": "write user",
}


def header_name(name: str) -> str:
    """Header names compare without case; facts hold them in lower case."""
    return name.lower()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``, did you mean 'x'?`` for a near miss, else the list of what there is."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.6) or [n for n in names if n.lower() == name.lower()]
    return f", did you mean '{near[0]}'?" if near else f", known are {', '.join(names)}"


def request_attribute_hint(name: str) -> str:
    """Mend for a ``request.NAME`` that there is not."""
    if name in _HINTS:
        return f", {_HINTS[name]}"
    return did_you_mean(name, {*REQUEST_ATTRIBUTES, HEADERS})
