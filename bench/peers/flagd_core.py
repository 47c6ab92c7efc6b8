"""flagd's evaluator alone, without the OpenFeature SDK around it."""

from __future__ import annotations

from openfeature.contrib.tools.flagd.core.flagd_core import FlagdCore

from bench.peers import Answer, Question, Request
from bench.peers.flagd import context, flag

LABEL = "flagd's evaluator alone"


def prepare(question: Question, request: Request) -> Answer:
    core = FlagdCore()
    core.set_flags({"flags": {"checkout": flag(question)}})
    evaluation = context(request)
    return lambda: bool(core.resolve_boolean_value("checkout", False, evaluation).value)


def gray(answer: object) -> bool:
    return bool(answer)
