"""What the same work costs when somebody writes it down by hand for the one question."""

from __future__ import annotations

from xxhash import xxh64_intdigest

from bench.peers import Answer, Question, Request

LABEL = "by hand"


def prepare(question: Question, request: Request) -> Answer:
    headers, user, region, device = dict(request.headers), request.user, request.region, request.device
    get = headers.get
    if question.name == "one header":
        return lambda: get("x-gray-version") == "true"
    if question.name == "five rules":
        return lambda: (
            get("x-gray-version") == "true"
            or user in {"1", "2", "3"}
            or (region in {"eu", "uk"} and device == "mobile")
            or int(user) % 1000 == 0
        )
    if question.name == "five rules, bucket last":
        return lambda: (
            get("x-gray-version") == "true"
            or user in {"1", "2", "3"}
            or (region in {"eu", "uk"} and device == "mobile")
            or int(user) % 1000 == 0
            or xxh64_intdigest(("checkout:" + user).encode()) % 10_000 < 1_000
        )
    if question.name == "bucket":
        return lambda: xxh64_intdigest(("checkout:" + user).encode()) % 10_000 < 1_000
    tables: dict[str, set[str]] = {}
    for name, value in question.equalities:
        tables.setdefault(name, set()).add(value)
    probes = tuple(tables.items())
    return lambda: any(get(name) in values for name, values in probes)


def gray(answer: object) -> bool:
    return bool(answer)
