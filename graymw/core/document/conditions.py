"""A ``match`` mapping to conditions (contract, §3)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, cast, get_args

from graymw.core import names
from graymw.core.document import scalars
from graymw.core.document.operands import OPERANDS
from graymw.core.document.tree import Cursor, nearest, shown
from graymw.core.model import AllOf, AnyOf, Condition, Fact, FactKind, Not, Operand, Operator, Test

DEVICES: Final = ("mobile", "tablet", "desktop", "bot")
_NAMED: Final[tuple[FactKind, ...]] = ("header", "cookie", "query")
_SINGLE: Final[tuple[FactKind, ...]] = ("method", "path", "host", "user", "region", "device", "ip")
_KEYS: Final = (*_NAMED, *_SINGLE, "after", "before", "any", "all", "not")
_ELSEWHERE: Final = {
    "when": "put `when` beside `match`, not into it",
    "use": "put `use` beside `match`, not into it",
    "split": "put `split` beside `match`, not into it",
    "headers": "did you mean header?",
    "cookies": "did you mean cookie?",
}
_OPERATORS: Final = get_args(Operator)
_MATCH_EXAMPLE: Final = 'match: {header: {x-gray: "true"}}'


def match(cursor: Cursor) -> Condition | None:
    """Condition of a ``match`` mapping, None where anything in it is wrong (reported).

    One test stays bare; more become ``AllOf`` in the written order, nested ``all`` lists dissolved into it.
    """
    if not cursor.is_mapping("a match", _MATCH_EXAMPLE):
        return None
    if not cursor.value:
        cursor.error("the match is empty", "name a fact, or leave it out where the rule is for everyone")
        return None
    cursor.refuse_unknown(_KEYS, _ELSEWHERE)
    found: list[Condition] = []
    sound = True
    for key, member in cursor.members():
        parts = _member(key, member)
        if parts is None:
            sound = False
        else:
            found.extend(parts)
    if not found or not _leaves_time(cursor, _flat(found)) or not sound:
        return None
    return together(found)


def together(conditions: list[Condition]) -> Condition:
    """All of these, a single one bare, ``AllOf`` within dissolved."""
    flat = _flat(conditions)
    return flat[0] if len(flat) == 1 else AllOf(tuple(flat))


def _flat(conditions: list[Condition]) -> list[Condition]:
    flat: list[Condition] = []
    for condition in conditions:
        flat.extend(condition.conditions if isinstance(condition, AllOf) else (condition,))
    return flat


def _member(key: str, cursor: Cursor) -> list[Condition] | None:
    if key in _NAMED:
        return _named(key, cursor)
    if key in _SINGLE:
        return _listed(_test(Fact(key), cursor))
    if key in {"after", "before"}:
        seconds = scalars.moment(cursor, key)
        return None if seconds is None else [Test(Fact("time"), "ge" if key == "after" else "lt", seconds)]
    if key in {"any", "all"}:
        return _listed(_nested(key, cursor))
    if key == "not":
        inner = match(cursor)
        return None if inner is None else [Not(inner)]
    return None


def _listed(condition: Condition | None) -> list[Condition] | None:
    return None if condition is None else [condition]


def _nested(key: str, cursor: Cursor) -> Condition | None:
    if not cursor.is_list(f"`{key}`", f"{key}: [{{region: eu}}, {{device: mobile}}]"):
        return None
    if not cursor.value:
        cursor.error(f"`{key}` has no conditions", "write at least one or leave it out")
        return None
    found = [match(item) for item in cursor.items()]
    sound = [condition for condition in found if condition is not None]
    if len(sound) < len(found):
        return None
    if key == "all":
        return together(sound)
    return sound[0] if len(sound) == 1 else AnyOf(tuple(sound))


def _named(what: FactKind, cursor: Cursor) -> list[Condition] | None:
    if not cursor.is_mapping(f"`{what}`", f'{what}: {{x-gray: "true"}}'):
        return None
    if not cursor.value:
        cursor.error(f"`{what}` names none", f"write {what}: {{NAME: VALUE}}")
        return None
    found: list[Condition] = []
    seen: set[str] = set()
    sound = True
    for written, member in cursor.members():
        name = written.lower() if what == "header" else written
        if what == "header" and not names.is_header(name):
            member.error(f"{shown(written)} is no header name", "write letters, digits and hyphens")
            sound = False
        elif not name:
            member.error(f"a {what} without a name", "write its name")
            sound = False
        elif name in seen:
            member.error(f"the header {shown(name)} stands twice", "keep one: upper and lower case are the same header")
            sound = False
        seen.add(name)
        test = _test(Fact(what, name), member)
        if test is None:
            sound = False
        else:
            found.append(test)
    return found if sound else None


def _test(fact: Fact, cursor: Cursor) -> Test | None:
    """Test of one fact: a scalar (equal), a list (one of) or a mapping of one operator."""
    if isinstance(cursor.value, list):
        return _one_of(fact, cursor)
    if not isinstance(cursor.value, dict):
        value = _value(fact, cursor)
        return None if value is None else Test(fact, "exact", value)
    cursor.refuse_unknown(_OPERATORS)
    known = [(key, member) for key, member in cursor.members() if key in _OPERATORS]
    if len(known) != 1 or len(cursor.value) != 1:
        if len(known) > 1:
            listed = " and ".join(key for key, _ in known)
            cursor.error(f"{listed} together on one value", "keep one, or put each into its own item of `all: [...]`")
        elif not cursor.value:
            cursor.error("the value is an empty mapping", "write a value, or an operator such as {exists: true}")
        return None
    key, member = known[0]
    if key == "in":
        return _one_of(fact, member)
    operand = _operand(fact, key, member)
    return None if operand is None else Test(fact, cast("Operator", key), operand)


def _operand(fact: Fact, key: str, cursor: Cursor) -> Operand | None:
    if key == "exact":
        return _value(fact, cursor)
    if key in {"prefix", "suffix", "contains"}:
        return _part(fact, cursor)
    return OPERANDS[key](cursor)


def _one_of(fact: Fact, cursor: Cursor) -> Test | None:
    if not cursor.is_list("`in`", "in: [eu, uk]"):
        return None
    if not cursor.value:
        cursor.error("the list of values is empty", "write at least one value")
        return None
    found = [_value(fact, item) for item in cursor.items()]
    values = tuple(dict.fromkeys(value for value in found if value is not None))
    if None in found:
        return None
    return Test(fact, "exact", values[0]) if len(values) == 1 else Test(fact, "in", values)


def _value(fact: Fact, cursor: Cursor) -> str | None:
    """A text that a fact is compared with, in the form that the fact has."""
    value = scalars.text(cursor, f"the {fact.kind}", empty=fact.kind in _NAMED)
    if value is None:
        return None
    form = _FORMS.get(fact.kind)
    return value if form is None else form(value, cursor)


def _method(value: str, _: Cursor) -> str:
    return value.upper()


def _host(value: str, cursor: Cursor) -> str | None:
    name, colon, port = value.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        cursor.error(
            f"the host {shown(value)} has a port", f"write {shown(name)[1:-1]}: hosts are compared without port"
        )
        return None
    return value.lower()


def _path(value: str, cursor: Cursor) -> str:
    if not value.startswith("/"):
        cursor.warn(f"the path {shown(value)} never matches", f"write /{value[:60]}: paths begin with a slash")
    return value


def _device(value: str, cursor: Cursor) -> str:
    if value not in DEVICES:
        cursor.warn(f"{shown(value)} is no device that graymw finds out by itself", nearest(value, DEVICES))
    return value


def _ip(value: str, cursor: Cursor) -> str | None:
    if "/" in value:
        cursor.error(f"{shown(value)} is a network, not an address", f'write {{cidr: "{value[:60]}"}}')
        return None
    try:
        return str(ip_address(value))
    except ValueError:
        cursor.error(f"{shown(value)} is no IP address", "write an address like 192.0.2.7 or 2001:db8::7")
        return None


_FORMS: Final[dict[str, Callable[[str, Cursor], str | None]]] = {
    "method": _method,
    "host": _host,
    "path": _path,
    "device": _device,
    "ip": _ip,
}


def _part(fact: Fact, cursor: Cursor) -> str | None:
    """Operand of prefix, suffix and contains, in the case that the fact has."""
    value = scalars.text(cursor, "the operand")
    if value is None:
        return None
    return value.upper() if fact.kind == "method" else value.lower() if fact.kind == "host" else value


def _leaves_time(cursor: Cursor, tests: list[Condition]) -> bool:
    """Whether the latest ``after`` is before the earliest ``before``; reports where it is not."""
    times = [test for test in tests if isinstance(test, Test) and test.fact.kind == "time"]
    begin = max(_moments(times, "ge"), default=None)
    end = min(_moments(times, "lt"), default=None)
    if begin is None or end is None or begin < end:
        return True
    place = cursor.member("before") or cursor
    place.error("`before` is not later than `after`: the rule never holds", "write a later time")
    return False


def _moments(times: list[Test], operator: Operator) -> list[float]:
    return [test.operand for test in times if test.operator == operator and isinstance(test.operand, float)]
