"""Which registry a setting means, and what is said where it means none."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from graymw.errors import SettingsError
from graymw.registries.choosing import registrar_for, registry_for
from graymw.registries.dns import DnsRegistry
from graymw.registries.static import StaticRegistry
from graymw.runtime.instance_keeper import InstanceKeeper
from graymw.settings.schema import Settings


def refused(choose: Callable[[Settings], object], settings: Settings) -> str:
    with pytest.raises(SettingsError) as error:
        choose(settings)
    (problem,) = error.value.problems
    return str(problem)


def test_the_table_of_the_settings_unless_another_is_named() -> None:
    assert isinstance(registry_for(Settings()), StaticRegistry)


def test_a_registry_is_watched_beside_the_requests() -> None:
    registry = registry_for(Settings(registry="dns://127.0.0.1/mesh.test"))
    assert isinstance(registry, InstanceKeeper)
    assert isinstance(registry.source, DnsRegistry)
    assert registry.name == "dns://127.0.0.1/mesh.test"


def test_an_unknown_registry_is_told_with_those_there_are() -> None:
    told = refused(registry_for, Settings(registry="zookeeper://h"))
    assert told.startswith("GRAYMW_REGISTRY: no registry is called zookeeper; write one of: ")
    assert "consul" in told
    assert "static" in told


@pytest.mark.parametrize("registry", ["static", "dns://127.0.0.1/mesh.test"])
def test_a_process_cannot_register_where_nobody_can(registry: str) -> None:
    told = refused(registrar_for, Settings(registry=registry, register=True))
    name = registry.partition(":")[0]
    assert told.startswith(f"GRAYMW_REGISTER: nothing registers in {name} by itself; unset it, or set ")
    assert "GRAYMW_REGISTRY to one of consul:" in told


def test_nobody_registers_unasked() -> None:
    assert registrar_for(Settings(registry="dns://127.0.0.1/mesh.test")) is None


def test_a_missing_library_is_told_as_what_is_wrong_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graymw.remote.dns.find_spec", lambda name: None)
    told = refused(registry_for, Settings(registry="dns://127.0.0.1/mesh.test"))
    assert told == "GRAYMW_REGISTRY: dnspython is not installed; pip install 'graymw[dns]'"


@pytest.mark.parametrize("backend", ["consul", "etcd", "nacos", "kubernetes"])
def test_a_registry_without_its_http_library_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr("graymw.remote.http.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "httpx", None)
    told = refused(registry_for, Settings(registry=f"{backend}://127.0.0.1"))
    assert told == f"GRAYMW_REGISTRY: httpx is not installed; pip install 'graymw[{backend}]'"
