from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from graymw.errors import Problem, SettingsError
from graymw.settings.schema import EGRESS, FactSource, Settings

KEY = "0123456789abcdef"


def read(environ: Mapping[str, str] | None = None, /, **mapping: object) -> Settings:
    return Settings.from_mapping(mapping, environ=environ or {})


def problems(environ: Mapping[str, str] | None = None, /, **mapping: object) -> dict[str, Problem]:
    with pytest.raises(SettingsError) as refused:
        read(environ, **mapping)
    return {problem.path: problem for problem in refused.value.problems}


def test_defaults() -> None:
    settings = read()
    assert settings.enabled
    assert settings.service == "unknown_service"
    assert settings.version == ""
    assert settings.trust == "private"
    assert settings.egress == EGRESS == (".local", ".internal", ".svc", ".cluster.local", ".consul")
    assert settings.user == (FactSource("header", "x-user-id"), FactSource("cookie", "uid"), FactSource("query", "uid"))
    assert settings.region[0] == FactSource("header", "x-region")
    assert settings.device == (FactSource("header", "x-device"), FactSource("user-agent"))
    assert settings.signature_ttl == 300
    assert settings.cookie_max_age == 180 * 24 * 3600
    assert settings.registry == "static"
    assert not settings.short_form
    assert not settings.explicit


def test_names_with_and_without_prefix_in_any_case() -> None:
    settings = read(GRAYMW_SERVICE="orders", Version="1.10", ZONE="a")
    assert (settings.service, settings.version, settings.zone) == ("orders", "1.10", "a")
    assert settings.explicit == {"service", "version", "zone"}


def test_empty_and_null_mean_not_set() -> None:
    assert read(GRAYMW_TRUST="", enabled=None, rules=" ") == read()


def test_what_is_written_and_watched_is_off_until_asked_for() -> None:
    settings = read()
    assert (settings.access_log, settings.access_log_facts, settings.detect_lost_context) == ("", False, False)
    asked = read(access_log="stderr", access_log_facts="true", detect_lost_context="true")
    assert (asked.access_log, asked.access_log_facts, asked.detect_lost_context) == ("stderr", True, True)


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().trust = "all"  # type: ignore[misc]


def test_opentelemetry_tells_service_and_version() -> None:
    settings = read({"OTEL_SERVICE_NAME": "orders", "OTEL_RESOURCE_ATTRIBUTES": "service.version=v2"})
    assert (settings.service, settings.version) == ("orders", "v2")
    assert settings.explicit == frozenset()


def test_own_settings_win_over_opentelemetry() -> None:
    settings = read(
        {"OTEL_SERVICE_NAME": "a", "OTEL_RESOURCE_ATTRIBUTES": "service.version=v9"}, service="b", version="v1"
    )
    assert (settings.service, settings.version) == ("b", "v1")


def test_a_foreign_version_that_cannot_be_carried_is_a_warning_only() -> None:
    settings = read({"OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0+build"})
    assert settings.version == ""
    assert "1.0+build" in str(settings.warnings[0])
    assert not read({"OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0+build"}, version="v1").warnings


def test_all_problems_at_once() -> None:
    found = problems(
        version="a/b", trust="friends", GRAYMW_USER="x", egress="http://x", enabled="maybe", gray_ratio="10"
    )
    assert found.keys() == {
        "GRAYMW_VERSION", "GRAYMW_TRUST", "GRAYMW_USER", "GRAYMW_EGRESS", "GRAYMW_ENABLED", "GRAYMW_GRAY_RATIO",
    }  # fmt: skip
    assert all(problem.mend for problem in found.values())


def test_a_misspelt_setting_is_refused_and_guessed() -> None:
    assert problems(GRAYMW_TURST="none")["GRAYMW_TURST"].mend == "did you mean GRAYMW_TRUST?"


def test_an_unknown_setting_without_a_likeness_is_refused() -> None:
    assert "GRAYMW_QQQQQ" in problems(qqqqq="1")


@pytest.mark.parametrize(
    "name",
    [
        "GRAYMW_SERVICE_HOST",
        "GRAYMW_PORT",
        "GRAYMW_PORT_80_TCP_ADDR",
        "GRAYMW_GATEWAY_SERVICE_PORT_HTTP",
        "GRAYMW_XDS_PORT",
    ],
)
def test_variables_that_kubernetes_sets_for_a_service_of_this_name_are_no_settings(name: str) -> None:
    assert read(**{name: "tcp://10.0.0.1:80"}) == read()


def test_signed_trust_needs_a_key() -> None:
    assert problems(trust="signed").keys() == {"GRAYMW_SECRET"}
    assert read(trust="signed", secret=KEY).secret == (KEY.encode(),)


def test_a_key_that_cannot_be_read_is_complained_of_once() -> None:
    with pytest.raises(SettingsError) as refused:
        read(trust="signed", secret=[1])
    assert len(refused.value.problems) == 1


def test_a_short_key_is_a_warning() -> None:
    assert "GRAYMW_SECRET" in str(read(secret="short").warnings[0])
    assert not read(secret=KEY).warnings


@pytest.mark.parametrize("name", ["gray_ratio", "gray_when", "gray_version"])
def test_the_short_form_beside_a_rule_document_is_a_warning(name: str) -> None:
    value = {"gray_ratio": "10%", "gray_when": "true"}.get(name, "v7")
    (warning,) = read(rules="rules.yaml", **{name: value}).warnings
    assert warning.path == f"GRAYMW_{name.upper()}"
    assert "does not count beside GRAYMW_RULES" in warning.message
    assert not read(**{name: value}).warnings
    assert not read(rules="rules.yaml", stable_version="v7").warnings


def test_secrets_and_credentials_are_never_shown() -> None:
    shown = repr(read(secret=f"{KEY},other-{KEY}", rules="redis://me:hunter2@host/0", service="orders"))
    assert KEY not in shown
    assert "hunter2" not in shown
    assert "service='orders'" in shown
    assert "<2 hidden>" in shown


def test_the_short_form() -> None:
    assert read(gray_ratio="10%").short_form
    assert read(gray_when="uid % 10 == 0").short_form
    assert read(gray_version="v2").short_form
    assert not read(stable_version="v1").short_form
    assert not read(gray_ratio="10%", rules="rules.yaml").short_form


def test_whether_the_stable_version_was_named() -> None:
    assert read(stable_version="v1").stable_version_set
    assert not read().stable_version_set


def test_a_short_form_of_one_version_is_refused() -> None:
    assert "GRAYMW_GRAY_VERSION" in problems(gray_ratio="10%", gray_version="v1")
    assert read(gray_version="v1", rules="rules.yaml").gray_version == "v1"


def test_faults_of_the_services_name_their_place() -> None:
    assert "GRAYMW_SERVICES.orders[0].url" in problems(services={"orders": [{}]})


def test_equal_settings_are_equal() -> None:
    assert read(services={"a": [{"url": "http://h"}]}) == read(services='{"a": [{"url": "http://h"}]}')


def test_a_signature_that_receivers_would_find_too_long_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({"secret": "a-long-random-string-of-the-fleet", "signature_ttl": "999999"})
    (problem,) = caught.value.problems
    assert problem.path == "GRAYMW_SIGNATURE_TTL"
    assert "57600" in problem.mend
    assert Settings.from_mapping({"signature_ttl": "57600"}).signature_ttl == 57_600
