from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason

import graymw
from graymw.bootstrap import engine_for
from graymw.core.context import Decision, GrayContext
from graymw.openfeature import GrayProvider, facts_of
from graymw.runtime.current import Carried, attach, default_engine, detach
from graymw.settings.schema import Settings

set_provider = getattr(api, "set_provider_and_wait", api.set_provider)  # the first where there is one: 0.10
RULES: dict[str, Any] = {
    "schema": 1,
    "releases": {
        "checkout": {
            "services": ["orders"],
            "stable": "v1",
            "rules": [
                {"name": "even-uids", "when": "uid % 10 == 0", "use": "v2"},
                {"name": "testers", "match": {"header": {"x-gray-version": "true"}}, "use": "v2"},
                {"name": "canary", "match": {"region": "eu"}, "split": {"v3": "100%"}},
            ],
        },
        "search": {"services": ["search"], "stable": "v1", "enabled": False},
    },
}


@pytest.fixture
def client() -> Iterator[OpenFeatureClient]:
    set_provider(GrayProvider(RULES))
    yield api.get_client()
    api.clear_providers()


def of(targeting_key: str | None = None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(targeting_key, attributes)


class TestValues:
    def test_a_string_is_the_version(self, client: OpenFeatureClient) -> None:
        assert client.get_string_value("checkout", "none", of("40")) == "v2"
        assert client.get_string_value("checkout", "none", of("41")) == "v1"

    def test_a_boolean_says_whether_it_is_gray(self, client: OpenFeatureClient) -> None:
        assert client.get_boolean_value("checkout", False, of("40")) is True
        assert client.get_boolean_value("checkout", True, of("41")) is False

    def test_details_tell_variant_rule_and_revision(self, client: OpenFeatureClient) -> None:
        found = client.get_string_details("checkout", "none", of("40"))
        assert (found.variant, found.reason, found.error_code) == ("v2", Reason.TARGETING_MATCH, None)
        revision = graymw.load_rules(RULES).revision
        assert found.flag_metadata == {"gray": True, "stable": "v1", "rule": "even-uids", "revision": revision}

    @pytest.mark.parametrize(
        ("release", "context", "version", "reason"),
        [
            ("checkout", of("40"), "v2", Reason.TARGETING_MATCH),
            ("checkout", of("41", region="eu"), "v3", Reason.SPLIT),
            ("checkout", of("41"), "v1", Reason.DEFAULT),
            ("search", of("40"), "v1", Reason.DISABLED),
        ],
    )
    def test_reasons_are_openfeature_s(
        self, client: OpenFeatureClient, release: str, context: EvaluationContext, version: str, reason: Reason
    ) -> None:
        found = client.get_string_details(release, "none", context)
        assert (found.value, found.reason) == (version, reason)

    def test_the_asynchronous_methods_say_the_same(self, client: OpenFeatureClient) -> None:
        async def ask() -> tuple[str, bool]:
            return (
                await client.get_string_value_async("checkout", "none", of("40")),
                await client.get_boolean_value_async("checkout", False, of("40")),
            )

        assert asyncio.run(ask()) == ("v2", True)


class TestErrors:
    def of_kind(self, found: FlagEvaluationDetails[Any], default: object, code: ErrorCode) -> None:
        assert (found.value, found.reason, found.error_code) == (default, Reason.ERROR, code)

    def test_an_unknown_release_is_not_found_and_the_default_counts(self, client: OpenFeatureClient) -> None:
        found = client.get_string_details("chekout", "v7", of("40"))
        self.of_kind(found, "v7", ErrorCode.FLAG_NOT_FOUND)
        assert found.error_message == "there is no release 'chekout'; known are: checkout, search"
        self.of_kind(client.get_integer_details("chekout", 7), 7, ErrorCode.FLAG_NOT_FOUND)

    def test_a_release_has_no_number_and_no_structure(self, client: OpenFeatureClient) -> None:
        self.of_kind(client.get_integer_details("checkout", 7), 7, ErrorCode.TYPE_MISMATCH)
        self.of_kind(client.get_float_details("checkout", 0.5), 0.5, ErrorCode.TYPE_MISMATCH)
        self.of_kind(client.get_object_details("checkout", {"a": 1}), {"a": 1}, ErrorCode.TYPE_MISMATCH)

    def test_refused_rules_are_refused_at_once(self) -> None:
        with pytest.raises(graymw.RulesError):
            GrayProvider({"releases": {"checkout": {}}})

    def test_without_the_library_the_command_is_named_that_brings_it(self) -> None:
        code = (
            "import sys; sys.modules['openfeature.provider'] = None\n"
            "try:\n    import graymw.openfeature\n"
            "except ImportError as error:\n    print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "openfeature-sdk is not installed: pip install 'graymw[openfeature]'\n"


class TestWithinARequest:
    def test_its_own_decision_is_the_answer_whatever_the_context_says(self, client: OpenFeatureClient) -> None:
        with graymw.use("checkout", "v9"):
            found = client.get_string_details("checkout", "none", of("40"))
        assert (found.value, found.reason) == ("v9", Reason.STATIC)
        assert client.get_string_value("checkout", "none", of("40")) == "v2"

    def test_an_inherited_decision_counts_as_cached(self, client: OpenFeatureClient) -> None:
        engine = engine_for(Settings())
        gray = GrayContext([Decision("elsewhere", "v2", "inherited", stable="v1")], revision="0a0a0a0a")
        carried = Carried(engine, gray)
        tokens = attach(carried.context, carried)
        try:
            found = client.get_boolean_details("elsewhere", False)
        finally:
            detach(tokens)
        assert (found.value, found.variant, found.reason) == (True, "v2", Reason.CACHED)

    def test_what_it_has_not_decided_is_decided_from_the_context(self, client: OpenFeatureClient) -> None:
        with graymw.use("search", "v2"):
            assert client.get_string_value("search", "none") == "v2"
            assert client.get_string_value("checkout", "none", of("40")) == "v2"


class TestRulesInForce:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "rules.yaml"
        path.write_text("{schema: 1, releases: {shop: {stable: v1, rules: [{use: v2}]}}}")
        return path

    def test_they_are_those_of_the_installed_application(self, path: Path) -> None:
        engine = engine_for(Settings.from_mapping({"rules": str(path)}))
        set_provider(GrayProvider())
        try:
            assert default_engine() is engine
            assert api.get_client().get_string_value("shop", "none") == "v2"
        finally:
            api.clear_providers()

    def test_without_one_they_are_those_of_the_environment(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_RULES", str(path))
        set_provider(GrayProvider())
        try:
            assert api.get_client().get_string_value("shop", "none") == "v2"
        finally:
            api.clear_providers()

    def test_refused_settings_leave_no_release(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRAYMW_TRUST", "everyone")
        set_provider(GrayProvider())
        try:
            found = api.get_client().get_string_details("shop", "v7")
            assert (found.value, found.error_code) == ("v7", ErrorCode.FLAG_NOT_FOUND)
        finally:
            api.clear_providers()

    def test_they_can_be_a_file(self, path: Path) -> None:
        found = GrayProvider(path).resolve_boolean_details("shop", False)
        assert (found.value, found.reason) == (True, Reason.TARGETING_MATCH)


class TestFacts:
    def test_the_targeting_key_is_the_user(self) -> None:
        assert facts_of(of("40", user="41")).user == "40"
        assert facts_of(of(None, user="41")).user == "41"

    def test_attributes_are_the_facts_of_that_name(self) -> None:
        facts = facts_of(of(region="eu", device="mobile", ip="192.0.2.1", method="post", path="/x", host="Shop:80"))
        assert (facts.region, facts.device, facts.ip) == ("eu", "mobile", "192.0.2.1")
        assert (facts.method, facts.path, facts.host) == ("POST", "/x", "shop")

    def test_maps_are_headers_cookies_and_query(self) -> None:
        facts = facts_of(of(headers={"X-A": "1"}, cookies={"C": 2}, query={"q": True}))
        assert (facts.headers, facts.cookies, facts.query) == ({"x-a": "1"}, {"C": "2"}, {"q": "true"})

    def test_others_count_as_headers(self) -> None:
        at = datetime(2026, 10, 1, tzinfo=UTC)
        facts = facts_of(of(**{"X-Tier": "gold", "age": 42, "share": 0.5, "vip": True, "since": at, "list": [1]}))
        assert facts.headers == {
            "x-tier": "gold", "age": "42", "share": "0.5", "vip": "true", "since": "2026-10-01T00:00:00+00:00",
        }  # fmt: skip

    def test_without_a_context_there_are_none(self) -> None:
        facts = facts_of(None)
        assert (facts.user, facts.headers, facts.method) == (None, {}, "GET")
