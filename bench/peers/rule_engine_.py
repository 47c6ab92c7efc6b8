"""rule-engine, one rule after the other. It knows no buckets: the hash by hand stands in."""

from __future__ import annotations

import rule_engine
from xxhash import xxh64_intdigest

from bench.peers import Answer, Question, Request

LABEL = "rule-engine"


def prepare(question: Question, request: Request) -> Answer:
    resolver = rule_engine.Context(default_value=None)
    sources = [f'{_name(name)} == "{value}"' for name, value in question.equalities]
    if question.others:
        sources += [
            'user in ["1", "2", "3"]',
            'region in ["eu", "uk"] and device == "mobile"',
            "uid % 1000 == 0",
        ]
    matches = tuple(rule_engine.Rule(source, context=resolver).matches for source in sources)
    thing = {
        **{_name(name): value for name, value in request.headers.items()},
        "user": request.user,
        "uid": int(request.user),
        "region": request.region,
        "device": request.device,
    }
    share, user = question.bucket, request.user
    if share is None:
        return lambda: any(match(thing) for match in matches)
    return lambda: (
        any(match(thing) for match in matches) or xxh64_intdigest(("checkout:" + user).encode()) % 10_000 < share * 100
    )


def _name(header: str) -> str:
    return header.replace("-", "_")


def gray(answer: object) -> bool:
    return bool(answer)
