"""Runs the demo: brings the chain up, lets the story be told, judges, and takes everything down again."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from graymw.demo import chain, people
from graymw.demo.account import Account, console
from graymw.demo.checks import verdict
from graymw.demo.interruption import Interrupted, Interruption
from graymw.demo.jaeger import JaegerSearch, jaeger_search, looked_up, pages_beside
from graymw.demo.outcomes import GOVERNED, GRAY
from graymw.demo.processes import Processes, Service, ServiceFailedError
from graymw.demo.receiver import Receiver
from graymw.demo.report import Report
from graymw.demo.spans import SpanStore
from graymw.demo.story import Story, Told
from graymw.demo.traffic import CHAIN, Client
from graymw.demo.upstream import Forwarder, asked_for

_KEEP_LOOK_SECONDS = 0.5


def run(*, users: int, keep: bool, json_output: bool, jaeger: str | None, environ: Mapping[str, str]) -> int:
    """Run the demo; see ``graymw.demo.run_demo``."""
    account = Account(console(quiet=json_output))
    with Interruption() as interruption:
        try:
            with _directory(interruption, account) as directory, ExitStack() as stack:
                stage = _bring_up(stack, interruption, account, directory.path, environ)
                report = _play(stage, users, jaeger)
                directory.is_wanted = not report.held
                if json_output:
                    _write(report.as_json())
                if keep:
                    account.keeping(stage.edge.url, stage.rules, directory.path)
                    _wait_for_interruption(stage.processes)
                return 0 if report.held else 1
        except Interrupted as interrupted:
            account.stopped()
            return interrupted.exit_code
        except ServiceFailedError as error:
            if json_output:
                _write({"held": False, "error": str(error), "log": error.log_tail})
            account.failed(error)
            return 1


@dataclass(slots=True)
class _Directory:
    """Where the run keeps its rules, logs and state; ``is_wanted``: somebody may want to read them afterwards."""

    path: Path
    is_wanted: bool = False


@contextmanager
def _directory(interruption: Interruption, account: Account) -> Iterator[_Directory]:
    directory = _Directory(Path(tempfile.mkdtemp(prefix="graymw-demo-")))
    try:
        yield directory
    finally:
        with interruption.shielded():
            if directory.is_wanted:
                account.logs(directory.path)
            else:
                shutil.rmtree(directory.path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Everything that is up while the story plays."""

    account: Account
    rules: Path
    store: SpanStore
    forwarder: Forwarder | None
    receiver: Receiver
    processes: Processes
    services: list[Service]
    client: Client

    @property
    def edge(self) -> Service:
        """The service that requests reach first."""
        return self.services[-1]


def _bring_up(
    stack: ExitStack, interruption: Interruption, account: Account, directory: Path, environ: Mapping[str, str]
) -> _Stage:
    """Start everything; ``stack`` takes it down again."""
    account.opening()
    rules = directory / "rules.yaml"
    shutil.copyfile(chain.sources() / "rules.yaml", rules)
    store = SpanStore()
    endpoint = asked_for(environ)
    forwarder = None if endpoint is None else stack.enter_context(Forwarder(endpoint))
    receiver = stack.enter_context(Receiver(store, forwarder))
    processes = stack.enter_context(Processes(interruption))
    services = chain.chain(directory, rules=rules, otlp_endpoint=receiver.url, environ=environ)
    with account.starting(len(services)) as on_ready:
        processes.start(services)
        processes.wait_ready(on_ready)
    account.started(services)
    client = stack.enter_context(Client(services[-1].url))
    first = client.ask(people.User("1"))
    if not first.is_complete:
        raise ServiceFailedError(services[-1], f"answers, but not for the whole chain: {first.error or first.versions}")
    return _Stage(account, rules, store, forwarder, receiver, processes, services, client)


def _play(stage: _Stage, users: int, jaeger: str | None) -> Report:
    """Let the story be told, and judge it."""
    begin = time.time_ns()
    everybody = [*people.cast(), *people.crowd(users)]
    story = Story(stage.edge, stage.rules, everybody, stage.client, stage.receiver, stage.store, stage.account)
    told = story.tell()
    stage.processes.check_running()
    report = _judged(stage, told, _searched(stage, told, begin, jaeger))
    stage.account.section(4, "One request, as its spans were exported")
    stage.account.trace(report)
    stage.account.section(5, "What held")
    stage.account.verdict(report)
    return report


def _searched(stage: _Stage, told: Told, begin: int, jaeger: str | None) -> JaegerSearch | None:
    """Search for the traces in the user's own Jaeger; None where spans are not sent on, or nobody knows where it is."""
    if stage.forwarder is None:
        return None
    stage.forwarder.settle()
    pages = jaeger or pages_beside(stage.forwarder.endpoint)
    if pages is None:
        return None
    search = jaeger_search(pages, service=CHAIN[0], start=begin, end=time.time_ns(), trace_id=told.shown.trace_id)
    answers = [*told.before.answers, *told.after.answers]
    gray = sum(answer.versions.get(GOVERNED[0]) == GRAY for answer in answers)
    return looked_up(search, expected=gray)


def _judged(stage: _Stage, told: Told, search: JaegerSearch | None) -> Report:
    report = Report(
        stage.services, told.before, told.refusal, told.change, told.after, told.shown, told.trace,
        forwarder=stage.forwarder, search=search,
    )  # fmt: skip
    return replace(report, checks=verdict(report))


def _wait_for_interruption(processes: Processes) -> NoReturn:
    while True:
        time.sleep(_KEEP_LOOK_SECONDS)
        processes.check_running()


def _write(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()
