"""UnleashClient from a bootstrapped file cache, without a server. It knows no modulo: a suffix stands in."""

from __future__ import annotations

import logging
import tempfile
import uuid
from typing import Any

from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache

from bench.peers import Answer, Question, Request

LABEL = "UnleashClient"


def _strategy(*constraints: tuple[str, str, list[str]], rollout: int = 100) -> dict[str, Any]:
    return {
        "name": "flexibleRollout",
        "parameters": {"rollout": str(rollout), "stickiness": "userId", "groupId": "checkout"},
        "constraints": [
            {"contextName": name, "operator": operator, "values": values} for name, operator, values in constraints
        ],
    }


def prepare(question: Question, request: Request) -> Answer:
    logging.getLogger("UnleashClient").setLevel(logging.ERROR)
    strategies = [_strategy((name, "IN", [value])) for name, value in question.equalities]
    if question.others:
        strategies += [
            _strategy(("userId", "IN", ["1", "2", "3"])),
            _strategy(("region", "IN", ["eu", "uk"]), ("device", "IN", ["mobile"])),
            _strategy(("userId", "STR_ENDS_WITH", ["000"])),
        ]
    if question.bucket is not None:
        strategies.append(_strategy(rollout=question.bucket))
    cache = FileCache("bench", directory=tempfile.mkdtemp())
    cache.bootstrap_from_dict({
        "version": 2,
        "features": [{"name": "checkout", "type": "release", "enabled": True, "strategies": strategies}],
    })  # fmt: skip
    client = UnleashClient(
        url="http://127.0.0.1:9/api",
        app_name="bench",
        instance_id=str(uuid.uuid4()),
        disable_metrics=True,
        disable_registration=True,
        cache=cache,
        multiple_instance_mode="warn",
    )
    client.initialize_client(fetch_toggles=False)
    context = {"userId": request.user, "region": request.region, "device": request.device, **request.headers}
    return lambda: client.is_enabled("checkout", context)


def gray(answer: object) -> bool:
    return bool(answer)
