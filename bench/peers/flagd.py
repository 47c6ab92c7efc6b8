"""OpenFeature with the flagd provider in file mode, and flagd's evaluator without the SDK."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from bench.peers import Answer, Question, Request

LABEL = "OpenFeature + flagd, file"


def flag(question: Question) -> dict[str, Any]:
    arms: list[Any] = []
    for name, value in question.equalities:
        arms += [{"==": [{"var": name}, value]}, "on"]
    if question.others:
        arms += [
            {"in": [{"var": "user"}, ["1", "2", "3"]]}, "on",
            {"and": [{"in": [{"var": "region"}, ["eu", "uk"]]}, {"==": [{"var": "device"}, "mobile"]}]}, "on",
            {"==": [{"%": [{"var": "uid"}, 1000]}, 0]}, "on",
        ]  # fmt: skip
    if question.bucket is None:
        arms.append("off")
    else:
        arms.append({"fractional": [["on", question.bucket], ["off", 100 - question.bucket]]})
    targeting = {"if": arms} if len(arms) > 1 else arms[0]
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": targeting,
    }


def context(request: Request) -> EvaluationContext:
    attributes: dict[str, Any] = {
        **request.headers, "user": request.user, "uid": int(request.user), "region": request.region,
        "device": request.device,
    }  # fmt: skip
    return EvaluationContext(request.user, attributes)


def prepare(question: Question, request: Request) -> Answer:
    folder = Path(tempfile.mkdtemp())
    (folder / "flags.json").write_text(json.dumps({"flags": {"checkout": flag(question)}}))
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(folder / "flags.json"))
    domain = f"{question.name}-{folder.name}"
    api.set_provider_and_wait(provider, domain)
    client = api.get_client(domain)
    evaluation = context(request)
    return lambda: client.get_boolean_value("checkout", False, evaluation)


def gray(answer: object) -> bool:
    return bool(answer)
