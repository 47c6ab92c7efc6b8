from __future__ import annotations

from pathlib import Path

import pytest

from graymw.errors import SettingsError
from graymw.settings.loader import load_settings
from graymw.settings.origins import setting_origins


def test_the_strongest_place_counts(tmp_path: Path) -> None:
    (tmp_path / "graymw.yaml").write_text("service: a\nzone: a\nversion: v1\ntrust: all\nsecret: x\n")
    (tmp_path / "graymw.local.yaml").write_text("GRAYMW_ZONE: b\nversion: v2\ntrust: none\nsecret: y\n")
    (tmp_path / ".secrets.toml").write_text('[graymw]\nsecret = "0123456789abcdef"\n')
    (tmp_path / ".env").write_text("GRAYMW_VERSION=v3\nGRAYMW_TRUST=private\nOTHER=1\n")
    environ = {"GRAYMW_TRUST": "signed"}
    assert setting_origins(environ=environ, directory=tmp_path) == {
        "SERVICE": "graymw.yaml",
        "ZONE": "graymw.local.yaml",
        "SECRET": ".secrets.toml",
        "VERSION": ".env",
        "TRUST": "environment",
    }
    settings = load_settings(environ=environ, directory=tmp_path)
    assert (settings.service, settings.zone, settings.version, settings.trust) == ("a", "b", "v3", "signed")


def test_what_is_empty_was_not_set(tmp_path: Path) -> None:
    (tmp_path / "graymw.toml").write_text('zone = "a"\nservice = ""\n')
    assert setting_origins(environ={"GRAYMW_ZONE": " "}, directory=tmp_path) == {"ZONE": "graymw.toml"}


def test_one_service_s_variable_is_the_table_of_services(tmp_path: Path) -> None:
    assert setting_origins(environ={"GRAYMW_SERVICES__ORDERS": "[]"}, directory=tmp_path) == {"SERVICES": "environment"}


def test_a_file_elsewhere_is_named_by_its_path(tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc" / "gray.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text("zone: a\n")
    here = tmp_path / "here"
    here.mkdir()
    found = setting_origins(environ={"GRAYMW_SETTINGS": str(elsewhere)}, directory=here)
    assert found["ZONE"] == str(elsewhere)


def test_a_malformed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graymw.toml").write_text("zone = ")
    with pytest.raises(SettingsError):
        setting_origins(environ={}, directory=tmp_path)
