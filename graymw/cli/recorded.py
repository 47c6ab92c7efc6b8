"""Recorded requests: one JSON object a line, with the names of ``graymw.RequestFacts``, or a line of an access log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from graymw.cli.outcome import WrongUseError
from graymw.cli.request import DescribedRequest, RequestOptions
from graymw.core.document.tree import nearest
from graymw.errors import SourceError
from graymw.settings.schema import Settings

_TEXTS: Final = ("method", "path", "host", "user", "region", "device", "ip")
_MAPS: Final[Mapping[str, tuple[str, str]]] = {
    "headers": ("headers", ": "),
    "cookies": ("cookies", "="),
    "query": ("queries", "="),
}
_KNOWN: Final = (*_TEXTS, *_MAPS)
_ACCESS_LOG: Final = frozenset({"time", "context", "duration_ms"})
"""What every line of an access log has, and no recorded request."""

_EXAMPLE: Final = '{"path": "/cart", "headers": {"x-user-id": "40"}}'


class _NoRequestError(ValueError):
    """A line is no request; the text says why."""


def recorded_requests(path: str, settings: Settings) -> Iterator[DescribedRequest]:
    """Facts of each request of a file; user, region and device are derived where they are not told.

    Args:
        path: A file with a JSON object a line; empty lines do not count.
        settings: Where facts come from.

    Raises:
        WrongUseError: The file is not there.
        SourceError: It cannot be read, or a line is no request.
    """
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield _request(path, number, line, settings)
    except FileNotFoundError:
        raise WrongUseError(f"there is no file {path}; name one with a request a line, such as {_EXAMPLE}") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def _request(path: str, number: int, line: bytes, settings: Settings) -> DescribedRequest:
    try:
        return DescribedRequest(RequestOptions(**_options(json.loads(line))), settings)
    except (ValueError, RecursionError, WrongUseError) as error:
        told = str(error) if isinstance(error, (_NoRequestError, WrongUseError)) else f"no JSON; write {_EXAMPLE}"
        raise SourceError(f"{path}:{number}: {told}") from error


def _options(record: object) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise _NoRequestError(f"no JSON object; write {_EXAMPLE}")
    if record.keys() >= _ACCESS_LOG:
        record = record.get("request")
        if not isinstance(record, dict):
            raise _NoRequestError("the access log tells no facts; let it be written with GRAYMW_ACCESS_LOG_FACTS=true")
    options: dict[str, Any] = {}
    for key, value in record.items():
        if key in _TEXTS:
            if value is not None:
                options[key] = _text(key, value)
        elif key in _MAPS and isinstance(value, dict):
            if "" in value:
                raise _NoRequestError(f"a name in {key} is empty; write {_EXAMPLE}")
            name, sign = _MAPS[key]
            options[name] = tuple(f"{inner}{sign}{_text(f'{key}.{inner}', held)}" for inner, held in value.items())
        elif key in _MAPS:
            raise _NoRequestError(f"{key} is no JSON object; write {_EXAMPLE}")
        else:
            raise _NoRequestError(f"unknown key {key!r}; {nearest(key, _KNOWN)}")
    return options


def _text(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _NoRequestError(f"{key} is no text; write it in quotes")
