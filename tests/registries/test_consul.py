"""URLs and settings; what a server does is in ``tests/servers`` and ``tests/contract``."""

from __future__ import annotations

import sys

import pytest

from graymw.errors import SettingsError
from graymw.registries.choosing import registrar_for, registry_for
from graymw.registries.consul import ConsulServices
from graymw.registries.consul_registrar import ConsulRegistrar
from graymw.settings.access import Access
from graymw.settings.schema import Settings


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("consul://", "it names no host"),
        ("consul://127.0.0.1:8500/services", "a registry in Consul has no path; write it like consul://127.0.0.1:8500"),
        ("consul://127.0.0.1:8500?dc=dc1", "there is no parameter dc"),
        ("consul://127.0.0.1:0", "'127.0.0.1:0' is no host and port"),
    ],
)
def test_a_wrong_url_is_refused_with_the_mend(url: str, told: str) -> None:
    for make in (ConsulServices, ConsulRegistrar):
        with pytest.raises(SettingsError) as caught:
            make(url, Access())
        assert f"GRAYMW_REGISTRY: {told}" in str(caught.value)


def test_its_name_has_no_credentials() -> None:
    for make in (ConsulServices, ConsulRegistrar):
        assert make("consul://:s3cret@127.0.0.1", Access(token="t0ken")).name == "consul://***@127.0.0.1"


def test_three_heartbeats_come_before_an_instance_lapses() -> None:
    assert ConsulRegistrar("consul://127.0.0.1", Access(), ttl=9).heartbeat_seconds == 3


def test_without_the_http_library_the_setting_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.setattr("graymw.remote.http.find_spec", lambda _name: None)
    settings = Settings.from_mapping({"registry": "consul://127.0.0.1", "register": True, "service": "a"}, environ={})
    for choose in (registry_for, registrar_for):
        with pytest.raises(SettingsError, match=r"httpx is not installed; pip install 'graymw\[consul\]'"):
            choose(settings)


def test_choosing_it_loads_no_http_library_and_asks_nobody() -> None:
    settings = Settings.from_mapping({"registry": "consul://192.0.2.1", "register": True, "service": "a"}, environ={})
    assert registry_for(settings).name == "consul://192.0.2.1"  # type: ignore[attr-defined]
    registrar = registrar_for(settings)
    assert registrar is not None
    assert registrar.name == "consul://192.0.2.1"
