"""Expressions in the library: only what they name crosses into it, and no failure leaves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cel as library
import pytest

from graymw.core import cel
from graymw.core.cel.evaluating import EvaluationError, LibraryError, Program, compile_program
from graymw.core.facts import RequestFacts
from graymw.core.model import Fact


def program(source: str) -> Program:
    return compile_program(source, cel.accepted(source).node)


FACTS = RequestFacts(
    method="POST",
    path="/api/orders",
    host="shop.example",
    headers={"x-a": "1", "user-agent": "UA", "referer": "R", "x-request-id": "I"},
    cookies={"beta": "yes"},
    query={"q": "a b", "k": "v"},
    user="40",
    region="eu",
    device="mobile",
    ip="10.0.0.1",
)


@pytest.mark.parametrize(
    "source",
    [
        "request.method == 'POST' && request.path == '/api/orders' && request.url_path == request.path",
        "request.host == 'shop.example' && request.useragent == 'UA' && request.referer == 'R' && request.id == 'I'",
        "request.headers['X-A'] == '1' && request.headers[\"x-a\"] == '1' && request['headers']['x-a'] == '1'",
        "cookies.beta == 'yes' && cookies['beta'] == 'yes' && query.q == 'a b'",
        "uid == 40 && user == '40' && string(uid) == user && region + device == 'eumobile' && ip == '10.0.0.1'",
        "size(query) == 2 && size(request.headers) == 4 && size(cookies) == 1",
        "query.exists(k, query[k] == 'v') && query.all(k, size(k) == 1)",
        "'x-a' in request.headers && !('x-b' in request.headers) && has(cookies.beta) && !has(query.zz)",
        "has(request.method) && has(request.headers) && has(request.useragent)",
        "(request).headers['x-a']=='1'&&[user,region]==['40','eu']",
        "('beta') in cookies && (true ? user : region) == '40'",
        "request.headers['x-a'] in ['1'] && 'request.headers' != user",
    ],
)
def test_names_mean_the_facts_of_the_request(source: str) -> None:
    assert program(source).evaluate(FACTS) is True


@pytest.mark.parametrize("source", ["request.headers['nope'] == 'x'", "cookies.nope == 'x'", "query['nope'] == 'x'"])
def test_a_missing_value_is_an_error_that_logic_absorbs(source: str) -> None:
    with pytest.raises(EvaluationError):
        program(source).evaluate(FACTS)
    with pytest.raises(EvaluationError):
        program(f"!({source})").evaluate(FACTS)
    assert program(f"{source} || true").evaluate(FACTS) is True
    assert program(f"{source} && false").evaluate(FACTS) is False


def test_absent_plain_facts_are_missing_values() -> None:
    for source in ("user == 'a'", "uid == 1", "region == 'a'", "device == 'a'", "ip == 'a'"):
        with pytest.raises(EvaluationError):
            program(source).evaluate(RequestFacts())


@pytest.mark.parametrize("source", ["uid % 0 == 1", "int(region) == 1", "[1][7] == 1", "dyn(user)", "uid / 0 == 1"])
def test_a_failure_or_another_result_than_a_boolean_is_an_evaluation_error(source: str) -> None:
    with pytest.raises(EvaluationError):
        program(source).evaluate(FACTS)


@pytest.mark.parametrize("source", ["cookies[user] == 'a'", "duration(user) > duration('1s')"])
def test_a_failure_can_be_told_without_what_the_request_holds(source: str) -> None:
    with pytest.raises(EvaluationError, match="alice") as raised:
        program(source).evaluate(RequestFacts(user="alice"))
    assert "alice" not in raised.value.told


def test_a_program_tells_what_it_reads() -> None:
    read = program("uid == 1 || request.headers['X-A'] == 'b' || request.useragent == 'c' || 'z' in cookies")

    assert read.facts == {
        Fact("user"), Fact("header", "x-a"), Fact("header", "user-agent"), Fact("cookie", "z"),
    }  # fmt: skip
    assert read.maps == frozenset()
    assert program("size(query) > 0 && query['a'] == 'b'").maps == {"query"}
    assert program("request.headers[user] == 'b'").maps == {"header"}


def test_only_the_named_values_are_looked_up() -> None:
    asked: list[str] = []

    class Watched(Mapping[str, str]):
        def __getitem__(self, name: str) -> str:
            asked.append(name)
            raise KeyError(name)

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("all headers were looked at")

        def __len__(self) -> int:
            return 0

    with pytest.raises(EvaluationError):
        program("request.headers['x-a'] + request.headers['x-b'] == 'a'").evaluate(RequestFacts(headers=Watched()))
    assert asked == ["x-a", "x-b"]


def test_undecodable_bytes_of_a_request_are_no_failure() -> None:
    facts = RequestFacts(user="a\udcff", query={"\udcfe": "b\ud800"})

    assert program("user.startsWith('a') && user != 'a' && size(query) == 1").evaluate(facts) is True


class PanicException(BaseException):
    pass


PanicException.__module__ = "pyo3_runtime"


class _Panicking:
    def execute(self, variables: dict[str, Any]) -> Any:
        raise PanicException("index out of bounds")


def test_a_panic_inside_the_library_is_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "compile", lambda source: _Panicking())

    with pytest.raises(EvaluationError, match="internal fault"):
        program("user == region").evaluate(FACTS)


def test_a_panic_while_compiling_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(source: str) -> Any:
        raise PanicException("overflow")

    monkeypatch.setattr(library, "compile", panic)

    with pytest.raises(LibraryError, match="internal fault"):
        program("user == region")


def test_an_interrupt_is_not_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def execute(self, variables: dict[str, Any]) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(library, "compile", lambda source: Interrupted())

    with pytest.raises(KeyboardInterrupt):
        program("user == region").evaluate(FACTS)


def test_what_the_library_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str) -> Any:
        raise ValueError("Failed to parse\nsecond line")

    monkeypatch.setattr(library, "compile", refuse)

    assert cel.problems("user == region") == ["CEL cannot compile the expression (Failed to parse)"]
