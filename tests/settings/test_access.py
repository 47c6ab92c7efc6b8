from __future__ import annotations

import pytest

from graymw.cli.surroundings import shown
from graymw.errors import SettingsError
from graymw.settings.access import Access
from graymw.settings.schema import Settings


def settings(**told: object) -> Settings:
    return Settings.from_mapping(told, environ={})


def test_rules_and_registry_are_logged_in_at_each_by_itself() -> None:
    read = settings(rules_user="me", rules_password="s3cret", registry_token="t0ken", REGISTRY_VERIFY="false")
    assert read.rules_access == Access(user="me", password="s3cret")
    assert read.registry_access == Access(token="t0ken", verify=False)
    assert {"rules_user", "registry_token"} <= read.explicit


def test_nothing_shows_what_they_hold() -> None:
    read = settings(rules_password="s3cret", registry_secret_key="s3cret", registry_ca="/ca.pem")
    assert "s3cret" not in f"{read!r} {read.rules_access!r} {shown('rules_access', read.rules_access)}"
    assert shown("registry_access", read.registry_access) == "secret_key hidden, ca hidden"


def test_a_password_of_another_type_is_refused_without_being_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        settings(rules_password=1.25)
    assert str(caught.value.problems[0]) == "GRAYMW_RULES_PASSWORD: it is no string; write it in quotes"


def test_the_log_in_of_a_url_counts_where_the_settings_say_nothing() -> None:
    assert Access().with_login("me", "s3cret") == Access(user="me", password="s3cret")
    assert Access(user="you").with_login("me", "s3cret") == Access(user="you")
    assert Access(token="t").with_login("", "") == Access(token="t")
