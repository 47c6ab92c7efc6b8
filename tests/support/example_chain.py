"""The services of ``examples/`` as real processes that export to a Jaeger."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from real_jaeger import Jaeger, Span

from graymw.demo import chain
from graymw.demo.interruption import Interruption
from graymw.demo.people import User
from graymw.demo.processes import Processes, Service
from graymw.demo.traffic import CHAIN, Answer, Client


def services(folder: Path, jaeger: Jaeger) -> list[Service]:
    """The chain, not yet started; its rules are ``rules.yaml`` in the folder."""
    path = folder / "rules.yaml"
    shutil.copyfile(chain.sources() / "rules.yaml", path)
    return chain.chain(folder, rules=path, otlp_endpoint=jaeger.otlp, environ=os.environ)


@contextmanager
def serving(started: Sequence[Service]) -> Iterator[Client]:
    """The services, ready; what they have not yet exported when they end is exported then."""
    with Interruption() as interruption, Processes(interruption) as processes:
        processes.start(started)
        processes.wait_ready(lambda _: None)
        with Client(started[-1].url) as client:
            yield client


def asked(client: Client, user: User) -> Answer:
    answer = client.ask(user)
    assert answer.is_complete, answer.error
    return answer


def is_whole(trace: Sequence[Span]) -> bool:
    """Whether the spans of all hops are there: what serves them, and the calls between."""
    kinds = [span.kind for span in trace]
    return kinds.count("server") >= len(CHAIN) and kinds.count("client") >= len(CHAIN) - 1
