"""Other engines behind one question: does this request get the gray version?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Answer = Callable[[], object]
"""Decides one request, from ready-made facts as the peer wants them; the module's ``gray`` reads the answer."""


@dataclass(frozen=True)
class Request:
    """Facts of one request, in nobody's form."""

    user: str
    headers: Mapping[str, str]
    region: str
    device: str


@dataclass(frozen=True)
class Question:
    """A set of rules that every peer is asked to be given in its own terms.

    Attributes:
        equalities: ``(header, value)`` of each of the equality rules, in order.
        others: Whether three rules follow: a list of users, region and device together, every thousandth user.
        bucket: Share of the last rule, of 100; None without one.
    """

    name: str
    equalities: tuple[tuple[str, str], ...]
    others: bool = False
    bucket: int | None = None


class Peer(Protocol):
    """What each module here offers."""

    LABEL: str

    def prepare(self, question: Question, request: Request) -> Answer: ...

    def gray(self, answer: object) -> bool: ...


MISS = Request(user="4321987", headers={"x-gray-version": "false", "x-team": "blue"}, region="us", device="desktop")
HIT = Request(user="4321987", headers={"x-gray-version": "true", "x-team": "blue"}, region="us", device="desktop")

HUNDRED = tuple(
    (("x-team", f"team-{number}"), ("x-shop", f"shop-{number}"), ("x-client", f"client-{number}"))[number % 3]
    for number in range(99)
)
QUESTIONS = (
    Question("one header", (("x-gray-version", "true"),)),
    Question("five rules", (("x-gray-version", "true"),), others=True),
    Question("five rules, bucket last", (("x-gray-version", "true"),), others=True, bucket=10),
    Question("hundred equality rules", (*HUNDRED, ("x-gray-version", "true"))),
    Question("bucket", (), bucket=10),
)
