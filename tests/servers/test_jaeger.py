"""A gray decision is found afterwards in a real Jaeger, to which the example services export."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from example_chain import asked, is_whole, services, serving
from real_jaeger import Jaeger, Span, Traces
from waiting import eventually

from graymw.demo import people, rules
from graymw.demo.people import User
from graymw.demo.traffic import CHAIN, Answer

ON_GRAY = {"gray.release": "checkout", "gray.version": "v2", "gray.active": True, "gray.context": "checkout=v2"}
ON_STABLE = {"gray.release": "checkout", "gray.version": "v1", "gray.active": False, "gray.context": "checkout=v1"}
TESTER, PLAIN = User("7", tester=True), User("41")


def of_kind(kind: str, trace: Sequence[Span]) -> dict[str, Span]:
    """Spans of a kind by service, of which there is one each."""
    found = [span for span in trace if span.kind == kind]
    services_of = [span.service for span in found]
    assert len(set(services_of)) == len(services_of), f"{kind} spans of {services_of}"
    return {span.service: span for span in found}


@dataclass(frozen=True)
class Sent:
    """Requests of all the users, each with its trace in Jaeger and with version and rule as the rules have it."""

    answers: Sequence[Answer]
    traces: Traces
    expected: dict[str, tuple[str, str]]
    revision: str

    def of(self, version: str) -> list[tuple[Answer, list[Span]]]:
        found = [
            (answer, self.traces[answer.trace_id])
            for answer in self.answers
            if self.expected[answer.user.uid][0] == version
        ]
        assert len(found) >= 3
        return found

    def ids(self, version: str) -> set[str]:
        return {answer.trace_id for answer, _ in self.of(version)}


@pytest.fixture(scope="module")
def sent(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Somebody for each rule and some for none, through the whole chain, which has ended: nothing comes after."""
    folder, users = tmp_path_factory.mktemp("chain"), people.cast()
    with serving(services(folder, jaeger)) as client:
        answers = [asked(client, user) for user in users]
        eventually(lambda: all(is_whole(jaeger.trace(answer.trace_id)) for answer in answers), 30)
    path = folder / "rules.yaml"
    return Sent(
        answers,
        {answer.trace_id: jaeger.trace(answer.trace_id) for answer in answers},
        rules.expected(path, users),
        rules.revision(path),
    )


@pytest.mark.parametrize("service", CHAIN)
@pytest.mark.parametrize("tag", [{"gray.version": "v2"}, {"gray.active": "true"}], ids=lambda tag: next(iter(tag)))
def test_a_search_finds_the_gray_traces_and_none_of_stable_users(
    tag: dict[str, str], service: str, sent: Sent, jaeger: Jaeger
) -> None:
    found = jaeger.find(service, tag)
    assert found.keys() & sent.traces.keys() == sent.ids("v2")
    assert not found.keys() & sent.ids("v1")
    assert all(found[trace_id] == sent.traces[trace_id] for trace_id in sent.ids("v2"))


@pytest.mark.parametrize("service", CHAIN)
def test_stable_traces_are_found_as_such(service: str, sent: Sent, jaeger: Jaeger) -> None:
    for tag in ({"gray.version": "v1"}, {"gray.active": "false"}):
        assert jaeger.find(service, tag).keys() & sent.traces.keys() == sent.ids("v1")


@pytest.mark.parametrize(("version", "context"), [("v2", ON_GRAY), ("v1", ON_STABLE)])
def test_every_span_of_a_trace_carries_the_context_whatever_process_made_it(
    version: str, context: dict[str, object], sent: Sent
) -> None:
    for _, trace in sent.of(version):
        assert {span.service for span in trace} == set(CHAIN)
        for span in trace:
            assert {key: span.attributes.get(key) for key in context} == context, span


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_trace_is_one_tree_with_one_server_span_for_each_hop(version: str, sent: Sent) -> None:
    for answer, trace in sent.of(version):
        servers, clients = of_kind("server", trace), of_kind("client", trace)
        assert servers.keys() == set(CHAIN)
        assert clients.keys() == set(CHAIN[:-1])
        above = {span.span_id: span for span in trace}
        assert servers["edge"].parent_id == answer.span_id
        for caller, called in pairwise(CHAIN):
            assert above[servers[called].parent_id] == clients[caller]
            span = clients[caller]
            while span.parent_id in above:
                span = above[span.parent_id]
            assert span == servers["edge"]


def test_the_first_hop_tells_who_decided_and_the_others_that_they_inherited(sent: Sent) -> None:
    for version in ("v1", "v2"):
        for answer, trace in sent.of(version):
            rule = sent.expected[answer.user.uid][1]
            servers = of_kind("server", trace)
            edge = servers["edge"].attributes
            assert edge["gray.reason"] == ("split" if rule == "canary" else "match" if rule else "default")
            assert edge.get("gray.rule", "") == rule
            for service in CHAIN[1:]:
                assert servers[service].attributes["gray.reason"] == "inherited"
            assert {span.attributes["gray.revision"] for span in servers.values()} == {sent.revision}
    assert {rule for _, rule in sent.expected.values()} >= {"testers", "tens", "mobile-eu", "canary"}


def test_each_server_span_tells_what_served_and_whether_that_honours_the_decision(sent: Sent) -> None:
    for version in ("v1", "v2"):
        for answer, trace in sent.of(version):
            for service, span in of_kind("server", trace).items():
                assert span.attributes["gray.served_version"] == answer.versions[service] == span.version
                assert span.attributes.get("gray.honoured") is (None if service == "edge" else True)
            for span in of_kind("client", trace).values():
                assert span.attributes["gray.target_version"] == version
                assert "gray.fallback" not in span.attributes


def test_a_forced_fallback_is_seen_on_the_call_and_on_what_served_it(jaeger: Jaeger, tmp_path: Path) -> None:
    chained = services(tmp_path, jaeger)
    for service in chained:
        table = json.loads(service.environ["GRAYMW_SERVICES"])
        table["payments"] = [instance for instance in table["payments"] if instance["version"] == "v1"]
        service.environ = {**service.environ, "GRAYMW_SERVICES": json.dumps(table)}
    with serving([service for service in chained if str(service) != "payments v2"]) as client:
        gray, stable = asked(client, TESTER), asked(client, PLAIN)
        eventually(lambda: all(is_whole(jaeger.trace(answer.trace_id)) for answer in (gray, stable)), 30)

    trace = jaeger.find("orders", {"gray.fallback": "stable"})[gray.trace_id]
    clients, servers = of_kind("client", trace), of_kind("server", trace)
    assert "gray.fallback" not in clients["edge"].attributes
    assert clients["orders"].attributes["gray.target_version"] == "v1"
    told = servers["payments"].attributes
    assert (told["gray.version"], told["gray.served_version"], told["gray.honoured"]) == ("v2", "v1", False)
    assert servers["orders"].attributes["gray.honoured"] is True

    assert jaeger.find("payments", {"gray.honoured": "false"}).keys() & {gray.trace_id, stable.trace_id} == {
        gray.trace_id
    }
    assert stable.trace_id not in jaeger.find("orders", {"gray.fallback": "stable"})


def test_the_demo_ends_with_addresses_that_show_its_own_traces(jaeger: Jaeger, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "graymw.demo", "--users", "40", "--jaeger", jaeger.pages],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    _, told, end = done.stdout.partition("  In Jaeger, where this finds 20 gray traces")
    assert told, done.stdout[-2000:]
    page, trace_page, query = (line.strip() for line in end.splitlines()[1:4])
    assert page.startswith(f"{jaeger.pages}/search?")

    shown = jaeger.trace(trace_page.removeprefix(f"{jaeger.pages}/trace/"))
    assert ON_GRAY.items() <= of_kind("server", shown)["edge"].attributes.items()

    url = re.fullmatch(r"curl -s '(.+)'", query)
    assert url is not None
    for parts in (urlsplit(url[1]), urlsplit(page)):  # the page asks by the older API
        path = "/api/traces" if parts.path == "/search" else parts.path
        found = jaeger.ids(f"{path}?{parts.query}")
        assert len(found) == 20
        for trace_id in found:
            spans = jaeger.trace(trace_id)
            assert {span.service for span in spans} >= set(CHAIN)
            assert any(span.attributes.get("gray.version") == "v2" for span in spans)
