from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graymw.errors import SettingsError
from graymw.settings.loader import load_settings
from graymw.settings.schema import Settings

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(**environ: str) -> Settings:
        return load_settings(environ=environ, directory=tmp_path)

    return load


def test_nothing_set(load: Load) -> None:
    assert load() == Settings.from_mapping({}, environ={})


@pytest.mark.parametrize("text", ["1.10", "1e5", "0x10", "010", "true", "2024-01-01", "null"])
def test_a_version_in_a_variable_stays_as_it_is_written(load: Load, text: str) -> None:
    assert load(GRAYMW_VERSION=text).version == text


def test_a_share_in_a_variable(load: Load) -> None:
    assert load(GRAYMW_GRAY_RATIO="10%").gray_ratio == "10%"


@pytest.mark.parametrize("name", ["graymw.yaml", "graymw.yml", "graymw.toml"])
def test_an_unquoted_version_in_a_file_is_refused_with_the_mend(load: Load, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version: 1.10\n" if "y" in name.partition(".")[2] else "version = 1.10\n")
    with pytest.raises(SettingsError, match="in quotes"):
        load()


def test_a_quoted_version_in_a_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "graymw.yaml").write_text('version: "1.10"\nenabled: no\n')
    settings = load()
    assert settings.version == "1.10"
    assert settings.enabled is False


def test_weaker_and_stronger_places(load: Load, tmp_path: Path) -> None:
    """Files, their local twins, secrets, .env, environment."""
    (tmp_path / "graymw.toml").write_text(
        'zone = "toml"\nservice = "toml"\nversion = "toml"\nrules = "toml"\nstate_dir = "t"\n'
    )
    (tmp_path / "graymw.yaml").write_text("zone: yaml\nservice: yaml\nversion: yaml\nrules: yaml\n")
    (tmp_path / "graymw.local.yaml").write_text("zone: local\nservice: local\nversion: local\n")
    (tmp_path / ".secrets.yaml").write_text("graymw: {zone: secrets, service: secrets}\n")
    (tmp_path / ".env").write_text("GRAYMW_ZONE=dotenv\n")
    settings = load()
    assert settings.state_dir == "t"
    assert (settings.rules, settings.version, settings.service, settings.zone) == ("yaml", "local", "secrets", "dotenv")
    assert load(GRAYMW_ZONE="environment").zone == "environment"


def test_an_empty_variable_leaves_what_the_file_says(load: Load, tmp_path: Path) -> None:
    (tmp_path / "graymw.yaml").write_text("zone: a\n")
    assert load(GRAYMW_ZONE="").zone == "a"


def test_files_named_by_the_environment_take_the_place_of_the_usual_ones(load: Load, tmp_path: Path) -> None:
    (tmp_path / "graymw.yaml").write_text("zone: usual\n")
    (tmp_path / "a.yaml").write_text("zone: a\nservice: a\n")
    (tmp_path / "b.toml").write_text('zone = "b"\n')
    settings = load(GRAYMW_SETTINGS=f"a.yaml, {tmp_path / 'b.toml'}")
    assert (settings.service, settings.zone) == ("a", "b")


@pytest.mark.parametrize("named", ["missing.yaml", "."])
def test_a_named_file_that_is_not_there(load: Load, named: str) -> None:
    with pytest.raises(SettingsError, match="GRAYMW_SETTINGS: there is no file"):
        load(GRAYMW_SETTINGS=named)


def test_every_malformed_file_is_told(load: Load, tmp_path: Path) -> None:
    (tmp_path / "graymw.toml").write_text("x = \n")
    (tmp_path / "graymw.yaml").write_text("a: [\n")
    with pytest.raises(SettingsError) as refused:
        load()
    assert [Path(problem.path).name for problem in refused.value.problems] == ["graymw.toml", "graymw.yaml"]


def test_a_prefix_in_a_file_is_as_good_as_none(load: Load, tmp_path: Path) -> None:
    (tmp_path / "graymw.yaml").write_text("GRAYMW_ZONE: a\n")
    assert load().zone == "a"


def test_the_secrets_of_the_application_are_not_ours(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".secrets.toml").write_text(
        'secret = "of the application"\nuser = "db"\nGRAYMW_SECRET = "0123456789abcdef"\n'
    )
    settings = load()
    assert settings.secret == (b"0123456789abcdef",)
    assert settings.explicit == {"secret"}


def test_a_table_in_the_secrets_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".secrets.toml").write_text('[graymw]\nsecret = "0123456789abcdef"\n')
    assert load().secret == (b"0123456789abcdef",)


def test_dotenv_tells_the_identity_too(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTEL_SERVICE_NAME=shop\n")
    assert load().service == "shop"
    assert load(OTEL_SERVICE_NAME="orders").service == "orders"


def test_services_as_one_variable(load: Load) -> None:
    settings = load(GRAYMW_SERVICES='{"orders": [{"url": "http://h:1", "version": "1.10"}]}')
    assert settings.services["orders"][0].version == "1.10"


def test_a_number_in_the_json_of_a_variable_is_refused_with_the_mend(load: Load) -> None:
    with pytest.raises(SettingsError, match="in quotes"):
        load(GRAYMW_SERVICES='{"orders": [{"url": "http://h:1", "version": 1.10}]}')


def test_one_variable_for_each_service(load: Load, tmp_path: Path) -> None:
    (tmp_path / "graymw.yaml").write_text(
        "services:\n  orders: [{url: 'http://file:1'}]\n  payments: [{url: 'http://file:2'}]\n  Search: []\n"
    )
    settings = load(
        GRAYMW_SERVICES__orders='[{"url": "http://variable:1"}]',
        GRAYMW_SERVICES__USERS='[{"url": "http://variable:3"}]',
        GRAYMW_SERVICES__SEARCH='[{"url": "http://variable:4"}]',
    )
    assert {name: instances[0].host for name, instances in settings.services.items()} == {
        "orders": "variable", "payments": "file", "users": "variable", "Search": "variable",
    }  # fmt: skip


def test_one_variable_for_each_service_over_the_variable_for_all(load: Load) -> None:
    settings = load(
        GRAYMW_SERVICES='{"orders": [{"url": "http://all:1"}], "payments": [{"url": "http://all:2"}]}',
        GRAYMW_SERVICES__orders='[{"url": "http://one:1"}]',
    )
    assert [instances[0].host for instances in settings.services.values()] == ["one", "all"]


def test_a_broken_table_is_told_even_where_single_services_are_set(load: Load) -> None:
    with pytest.raises(SettingsError, match="no JSON"):
        load(GRAYMW_SERVICES="{", GRAYMW_SERVICES__orders="[]")


def test_another_nesting_is_no_setting(load: Load) -> None:
    with pytest.raises(SettingsError, match="GRAYMW_RULES__X"):
        load(GRAYMW_RULES__X="1")


def test_the_environment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("GRAYMW_ZONE=a\nOTHER=b\n")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    assert load_settings().zone == "a"
    assert dict(os.environ) == before


def test_loading_again_reads_anew(load: Load, tmp_path: Path) -> None:
    (tmp_path / "graymw.yaml").write_text("zone: a\n")
    first = load()
    (tmp_path / "graymw.yaml").write_text("zone: b\n")
    assert (first.zone, load().zone) == ("a", "b")


def test_warnings_are_logged(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "graymw.settings"):
        load(GRAYMW_SECRET="short")
    assert "GRAYMW_SECRET" in caplog.text
    assert "short'" not in caplog.text


def test_a_dotenv_that_cannot_be_read_does_not_stop_the_application(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").mkdir()
    load()
    assert ".env" in caplog.text


def test_dynaconf_is_not_imported_where_there_is_no_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1\n")
    script = "import sys, graymw.settings.loader as l; l.load_settings(); print('dynaconf' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
