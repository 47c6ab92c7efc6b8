"""GrowthBook, one instance reused. It knows no modulo: a regular expression stands in."""

from __future__ import annotations

from typing import Any

from growthbook import GrowthBook

from bench.peers import Answer, Question, Request

LABEL = "GrowthBook"


def prepare(question: Question, request: Request) -> Answer:
    rules: list[dict[str, Any]] = [{"condition": {name: value}, "force": True} for name, value in question.equalities]
    if question.others:
        rules += [
            {"condition": {"id": {"$in": ["1", "2", "3"]}}, "force": True},
            {"condition": {"region": {"$in": ["eu", "uk"]}, "device": "mobile"}, "force": True},
            {"condition": {"id": {"$regex": "000$"}}, "force": True},
        ]
    if question.bucket is not None:
        rules.append({"force": True, "coverage": question.bucket / 100, "hashAttribute": "id"})
    attributes = {"id": request.user, "region": request.region, "device": request.device, **request.headers}
    book = GrowthBook(attributes=attributes, features={"checkout": {"defaultValue": False, "rules": rules}})
    return lambda: bool(book.eval_feature("checkout").value)


def gray(answer: object) -> bool:
    return bool(answer)
