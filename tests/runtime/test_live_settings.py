"""Settings that change between two requests: each request sees one set of them from its beginning to its end."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling import OUTSIDE, ask_wsgi

import graymw
from graymw.bootstrap import engine_for
from graymw.core.carrying.signing import Signer
from graymw.messaging.headers import consuming
from graymw.middleware.wsgi import GrayWSGIApp
from graymw.runtime import outbound
from graymw.runtime.current import current_carried
from graymw.runtime.engine import Engine
from graymw.settings.schema import Settings
from graymw.telemetry.access_log import AccessLog

DOCUMENT = {
    "schema": 1,
    "releases": {
        "checkout": {"services": ["orders"], "stable": "v1", "rules": [{"match": {"user": "40"}, "use": "v2"}]}
    },
}
TOLD = {"baggage": "gray.checkout=v3"}


class Site:
    """An application whose settings are changed, between requests or within one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.within: Callable[[], object] = lambda: None
        self.app = GrayWSGIApp(self._serve, engine)

    def change(self, **told: object) -> None:
        mapping = {"service": "orders", "version": "v1", **told}
        self.engine.adopt_settings(Settings.from_mapping(mapping, environ={}))

    def _serve(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        before = graymw.current().version("checkout")
        self.within()
        start("200 OK", [])
        told = {"version": before, "seen": environ.get("HTTP_BAGGAGE"), "sent": sent_to("shop.example.test")}
        return [json.dumps(told).encode()]

    def ask(self, headers: dict[str, str], **more: Any) -> dict[str, Any]:
        answer = ask_wsgi(self.app, "/", headers, **more)
        assert answer.status == 200
        body: dict[str, Any] = json.loads(answer.body)
        return body


def sent_to(host: str) -> str | None:
    planned = outbound.begin(method="GET", scheme="http", host=host, port=80)
    assert planned is not None
    return dict(planned.headers).get("baggage")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(DOCUMENT))
    told = {"service": "orders", "version": "v1", "rules": str(rules)}
    return Site(engine_for(Settings.from_mapping(told, environ={})))


def test_trust_is_switched_between_two_requests(site: Site) -> None:
    assert site.ask(TOLD)["version"] == "v3"
    site.change(trust="none")
    assert site.ask(TOLD)["version"] == "v1"
    site.change(trust="all")
    assert site.ask(TOLD, peer=OUTSIDE)["version"] == "v3"


def test_identity_comes_from_another_place(site: Site) -> None:
    assert site.ask({"x-user-id": "40"})["version"] == "v2"
    site.change(user="header:x-uid")
    assert site.ask({"x-user-id": "40"})["version"] == "v1"
    assert site.ask({"x-uid": "40"})["version"] == "v2"
    site.change(user="cookie:me,header:x-uid")
    assert site.ask({"cookie": "me=40"})["version"] == "v2"


def test_a_request_that_runs_keeps_the_egress_it_began_with(site: Site) -> None:
    assert site.ask(TOLD)["sent"] is None
    site.change(egress=".test")
    assert str(site.ask(TOLD)["sent"]).startswith("gray.checkout=v3")
    site.within = lambda: site.change(egress=".internal")
    assert str(site.ask(TOLD)["sent"]).startswith("gray.checkout=v3")
    assert site.ask(TOLD)["sent"] is None


def test_a_request_that_runs_keeps_all_its_settings(site: Site) -> None:
    begun: list[Settings] = []

    def look() -> None:
        carried = current_carried()
        assert carried is not None
        begun.append(carried.snapshot.settings)
        site.change(trust="none", strict=True)
        assert carried.snapshot.settings is begun[-1]

    site.within = look
    site.ask(TOLD)
    site.ask(TOLD)
    assert [(each.trust, each.strict) for each in begun] == [("private", False), ("none", True)]


def test_a_misrouted_request_is_refused_as_soon_as_that_is_asked_for(site: Site) -> None:
    assert ask_wsgi(site.app, "/", TOLD).status == 200
    site.change(strict=True)
    assert ask_wsgi(site.app, "/", TOLD).status == 421


OLD, NEW = "old-key-of-sixteen", "new-key-of-sixteen"


def signed(key: str) -> dict[str, str]:
    gray = TOLD["baggage"]
    return {"baggage": f"{gray},gray-sig={Signer([key.encode()], 300).signature(gray, time.time())}"}


def test_keys_are_rotated_without_losing_a_decision(site: Site) -> None:
    """Receivers learn the new key first, then senders use it, then the old one is dropped."""
    site.change(trust="signed", secret=OLD)
    believed = []
    for keys in ([OLD], [OLD, NEW], [NEW, OLD], [NEW]):
        site.change(trust="signed", secret=keys, egress=".test")
        believed.append([site.ask(signed(key))["version"] == "v3" for key in (OLD, NEW)])
    assert believed == [[True, False], [True, True], [True, True], [False, True]]


def test_what_is_sent_is_signed_with_the_first_key_of_now_even_by_a_request_that_began_before(site: Site) -> None:
    """Its receivers may know no other key any more."""
    site.change(trust="signed", secret=[OLD, NEW], egress=".test")
    site.within = lambda: site.change(trust="signed", secret=[NEW], egress=".test")
    sent = {"baggage": site.ask(signed(OLD))["sent"]}
    assert site.ask(sent)["version"] == "v3"


def test_messages_are_believed_by_the_trust_of_now(site: Site) -> None:
    with consuming(TOLD) as gray:
        assert gray.version("checkout") == "v3"
    site.change(trust="none")
    with consuming(TOLD) as gray:
        assert not gray


def test_the_access_log_tells_facts_as_soon_as_that_is_asked_for(site: Site) -> None:
    written: list[str] = []

    class Lines:
        def put(self, make: Callable[[], str]) -> None:
            written.append(make())

    site.engine.observers = (AccessLog(site.engine.settings, Lines()),)
    for told in (False, True, False):
        site.change(access_log_facts=told, user="header:x-uid")
        site.ask({"x-uid": "40"})
    users = [json.loads(line).get("request", {}).get("user") for line in written]
    assert users == [None, "40", None]


def test_the_retry_budget_of_now_counts(site: Site) -> None:
    budget = site.engine.directory.budget
    assert budget.take()
    site.change(retry_budget="0%")
    assert not budget.take()


def test_rules_and_what_lasts_stay(site: Site) -> None:
    rules = site.engine.snapshot.rules
    site.change(version="v2", balancer="random", enabled=False, cookie_max_age=1, trust="all")
    assert site.engine.snapshot.rules is rules
    settings = site.engine.settings
    assert (settings.version, settings.balancer, settings.enabled, settings.trust) == ("v1", "round-robin", True, "all")
    assert site.engine.snapshot.settings is settings


def test_settings_that_cannot_be_used_change_nothing(site: Site) -> None:
    engine = site.engine
    before = engine.settings, engine.snapshot, engine.signer, engine.directory.budget.share
    bad = dataclasses.replace(engine.settings, trust="all", secret=(b"k" * 16,), egress=("",), retry_budget=1)
    with pytest.raises(ValueError, match="is no host name suffix"):
        engine.adopt_settings(bad)
    assert (engine.settings, engine.snapshot, engine.signer, engine.directory.budget.share) == before


def test_a_document_that_comes_later_is_in_force_with_the_settings_of_now(site: Site) -> None:
    site.change(trust="all")
    site.engine.adopt(site.engine.snapshot.document)
    assert site.engine.snapshot.settings.trust == "all"
