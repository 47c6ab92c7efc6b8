"""graymw itself, from the rule document."""

from __future__ import annotations

import secrets
import time
from typing import Any

from bench.peers import Answer, Question, Request
from graymw.core.context import GrayContext
from graymw.core.document import parse
from graymw.core.facts import RequestFacts
from graymw.core.ruleset import compile_rules

LABEL = "graymw"


def prepare(question: Question, request: Request) -> Answer:
    rules: list[dict[str, Any]] = [
        {"match": {"header": {name: value}}, "use": "v2"} for name, value in question.equalities
    ]
    if question.others:
        rules += [
            {"match": {"user": ["1", "2", "3"]}, "use": "v2"},
            {"match": {"region": ["eu", "uk"], "device": "mobile"}, "use": "v2"},
            {"match": {"user": {"mod": [1000, 0]}}, "use": "v2"},
        ]
    if question.bucket is not None:
        rules.append({"split": {"v2": f"{question.bucket}%"}})
    document = parse({"schema": 1, "releases": {"checkout": {"stable": "v1", "sticky": ["user"], "rules": rules}}})
    decide = compile_rules(document, clock=time.time, entropy=secrets.token_urlsafe).decide
    facts = RequestFacts(headers=dict(request.headers), user=request.user, region=request.region, device=request.device)
    return lambda: decide(facts)


def gray(answer: object) -> bool:
    """The context is ready; nothing is computed here."""
    return isinstance(answer, GrayContext) and answer.is_gray()
