"""Reads the settings of routing: what is registered, what is looked up, how one instance is picked."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from graymw.core import names
from graymw.core.instance_metadata import MAX_WEIGHT
from graymw.settings import values
from graymw.settings.values import refused

Balancer: TypeAlias = Literal["round-robin", "random", "least-request", "sticky"]

ADDRESS: Final = re.compile(
    r"(?:(?P<scheme>https?|grpcs?)://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]@?#]*)(?::(?P<port>\d{1,5}))?"
)
_DURATION: Final = re.compile(r"(\d{1,7})\s*(s|m|)")


def balancer(value: object) -> Balancer:
    """How one instance is picked."""
    word = values.text(value).lower().replace("_", "-")
    for choice in get_args(Balancer):
        if word == choice:
            return choice  # type: ignore[no-any-return]
    raise refused(f"{word!r} is no way to balance", f"write one of: {', '.join(get_args(Balancer))}")


def retry_share(value: object) -> int:
    """A share of all calls, in steps of 0.01 %; ``0%`` switches the retry off."""
    whole, _, fraction = values.share(value).rstrip("%").partition(".")
    return int(whole) * 100 + int((fraction or "0").ljust(2, "0"))


def duration(value: object) -> int:
    """Seconds; ``30``, ``30s`` or ``2m``; 0 for none."""
    written = str(value).strip().lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    match = _DURATION.fullmatch(written)
    if match is None:
        raise refused(f"{value!r} is no time", "write seconds such as 30, 30s or 2m")
    return int(match[1]) * (60 if match[2] == "m" else 1)


def address(value: object) -> str:
    """``HOST:PORT``, ``HOST`` or ``:PORT``, with ``https://`` before it where TLS is spoken; IPv6 in brackets."""
    written = values.text(value)
    match = ADDRESS.fullmatch(written)
    if match is None or not written.strip(":") or int(match["port"] or 1) not in range(1, 65_536):
        raise refused(f"{written!r} is no address", "write HOST:PORT, such as 10.0.0.7:8000, or :PORT alone")
    return written


def service_names(value: object) -> tuple[str, ...]:
    """Names of services, in lower case."""
    found = [values.text(item).lower() for item in values.items(value, r"[,\s]+", "a comma between names")]
    for name in found:
        if not names.is_service(name):
            raise refused(f"{name!r} is no service name", "write names such as orders")
    return tuple(dict.fromkeys(found))


def weight(value: object) -> int:
    """A share of the traffic relative to siblings."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_WEIGHT:
        raise refused(f"{value!r} is no weight", f"write a whole number from 0 to {MAX_WEIGHT}")
    return value


def metadata(value: object) -> Mapping[str, str]:
    """Keys and strings, as a table or its JSON text."""
    table = decoded(value, example='{"rack": "r7"}')
    if not isinstance(table, Mapping):
        raise refused("metadata is no mapping", 'write keys and strings, such as {"rack": "r7"}')
    return MappingProxyType({str(key): values.text(item) for key, item in table.items()})


def decoded(value: object, *, example: str) -> object:
    """The value that a JSON (or TOML) text stands for; anything else as it is.

    Args:
        value: As the environment or a file holds it.
        example: What to write instead of a text that is neither.

    Raises:
        RefusedError: The text is neither.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        raise refused("the text is no JSON", f"write JSON such as {example}") from None
