"""What tests of commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

RULES = """\
schema: 1
releases:
  checkout:
    services: [orders, payments]
    stable: v1
    rules:
      - name: testers
        match: {header: {x-gray-version: "true"}}
        use: v2
      - name: even-uids
        when: uid % 10 == 0
        use: v2
      - name: mobile-eu
        match: {region: [eu, uk], device: mobile}
        use: v2
      - name: canary
        split: {v2: 10%, v3: 0.25%}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Call = Callable[..., Outcome]
