from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graymw.cli.outcome import WrongUseError
from graymw.cli.recorded import recorded_requests
from graymw.cli.request import DescribedRequest
from graymw.errors import SourceError
from graymw.settings.schema import Settings


def read(path: Path, *lines: str | dict[str, Any]) -> list[DescribedRequest]:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return list(recorded_requests(str(path), Settings()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.jsonl"


def test_a_line_has_the_facts_of_a_request(path: Path) -> None:
    (facts,) = read(
        path,
        {
            "method": "post", "path": "/cart?a=1", "host": "Shop:80", "headers": {"X-User-Id": 40, "b": "x: y"},
            "cookies": {"c": "d"}, "query": {"e": "f g"}, "region": "eu", "device": "bot", "ip": "192.0.2.7",
        },
    )  # fmt: skip
    assert (facts.method, facts.path, facts.host) == ("POST", "/cart", "shop")
    assert (facts.headers["x-user-id"], facts.headers["b"]) == ("40", "x: y")
    assert (facts.cookies, facts.query) == ({"c": "d"}, {"a": "1", "e": "f g"})
    assert (facts.user, facts.region, facts.device, facts.ip) == ("40", "eu", "bot", "192.0.2.7")


def test_empty_lines_do_not_count_and_null_is_absent(path: Path) -> None:
    first, second = read(path, "", {}, "  ", {"user": None, "region": "eu"}, "")
    assert (first.user, second.user, second.region) == (None, None, "eu")


def test_a_line_of_an_access_log_holds_a_recorded_request(path: Path) -> None:
    line = {"time": "2026-01-02T03:04:05.678Z", "context": "checkout=v2", "duration_ms": 1.5, "status": 200}
    (facts,) = read(path, {**line, "request": {"path": "/cart", "user": "40"}})
    assert (facts.path, facts.user) == ("/cart", "40")
    with pytest.raises(SourceError, match="GRAYMW_ACCESS_LOG_FACTS=true"):
        read(path, line)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "no JSON; write"),
        ("[" * 100_000, "no JSON; write"),
        ("[1]", "no JSON object; write"),
        ('{"usr": "40"}', "unknown key 'usr'; did you mean user?"),
        ('{"user": true}', "user is no text; write it in quotes"),
        ('{"headers": {"a": 1.5}}', "headers.a is no text"),
        ('{"headers": ["a: b"]}', "headers is no JSON object"),
        ('{"cookies": {"": "x"}}', "a name in cookies is empty"),
        ('{"headers": {"a b": "x"}}', "is no header"),
    ],
)
def test_anything_else_is_told_with_its_line(path: Path, line: str, told: str) -> None:
    with pytest.raises(SourceError) as refused:
        read(path, {}, line)
    assert str(refused.value).startswith(f"{path}:2: ")
    assert told in str(refused.value)


def test_a_file_that_is_not_there_is_wrong_use(path: Path) -> None:
    with pytest.raises(WrongUseError, match="there is no file"):
        list(recorded_requests(str(path), Settings()))


def test_a_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        list(recorded_requests(str(tmp_path), Settings()))


@given(content=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_requests_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.suppress(SourceError):
        assert all(isinstance(facts, DescribedRequest) for facts in recorded_requests(str(path), Settings()))
