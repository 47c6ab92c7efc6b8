"""Steady traffic from a client that routes by itself, gray and stable by turns, and an account of what came back."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from dataclasses import dataclass, field

import httpx

import graymw

CONCURRENCY = 4


@dataclass
class Account:
    """What came back.

    Attributes:
        hops: How often each version of a service served a request that was meant for a version: the keys are
            ``(meant, service, version)``.
        errors: What a caller saw in the place of an answer.
    """

    served: int = 0
    hops: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def wrong(self) -> dict[tuple[str, str, str], int]:
        """Hops by another version than the one meant."""
        return {hop: count for hop, count in self.hops.items() if hop[0] != hop[2]}


class Load:
    """Sends requests until it is stopped, from a thread with a loop of its own.

    Attributes:
        served: Requests answered since the beginning.
    """

    def __init__(self) -> None:
        self.served = 0
        self._account = Account()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def taken(self) -> Account:
        """The account since the last time."""
        with self._lock:
            account, self._account = self._account, Account()
            return account

    async def _run(self) -> None:
        versions = itertools.cycle(("v1", "v2"))
        async with httpx.AsyncClient(timeout=5) as http:
            await asyncio.gather(*(self._ask(http, versions) for _ in range(CONCURRENCY)))

    async def _ask(self, http: httpx.AsyncClient, versions: itertools.cycle[str]) -> None:
        while not self._stopping.is_set():
            meant = next(versions)
            with graymw.use("shop", meant):
                try:
                    answer = await http.get("http://edge/")
                    body = answer.json()
                except Exception as error:
                    self._note(meant, [], repr(error))
                else:
                    self._note(meant, body.get("hops", []), "" if answer.status_code == 200 else answer.text)
            await asyncio.sleep(0.005)

    def _note(self, meant: str, hops: list[list[str]], error: str) -> None:
        with self._lock:
            if error:
                self._account.errors.append(f"{meant}: {error}")
            else:
                self.served += 1
                self._account.served += 1
                self._account.hops.update((meant, service, version) for service, version in hops)
