from __future__ import annotations

import logging
from pathlib import Path

import pytest
from waiting import eventually

from graymw.bootstrap import engine_for
from graymw.settings.loader import load_settings
from graymw.settings.schema import Settings


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def rules(tmp_path: Path) -> str:
    document = tmp_path / "rules.yaml"
    document.write_text("{schema: 1, releases: {checkout: {services: [orders], stable: v1, rules: []}}}")
    return str(document)


def test_rules_for_a_process_without_a_name_are_a_warning_told_once(
    rules: str, caplog: pytest.LogCaptureFixture
) -> None:
    for user in ("header:x-user", "header:x-uid"):
        engine_for(Settings.from_mapping({"rules": rules, "user": user}))
    (warning,) = warnings_of(caplog)
    assert warning.endswith("set GRAYMW_SERVICE or OTEL_SERVICE_NAME")


def test_a_process_that_has_a_name_or_no_rules_of_services_is_left_in_peace(
    rules: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine_for(Settings.from_mapping({"rules": rules, "service": "orders"}))
    engine_for(Settings.from_mapping({"rules": rules}, environ={"OTEL_SERVICE_NAME": "orders"}))
    engine_for(Settings.from_mapping({"gray_ratio": "10%"}))
    assert not warnings_of(caplog)


def test_settings_that_follow_their_file_make_no_second_engine(tmp_path: Path) -> None:
    file = tmp_path / "graymw.yaml"
    file.write_text("service: edge\n")
    first = engine_for(load_settings(environ={}, directory=tmp_path))
    file.write_text("service: edge\ntrust: signed\nsecret: 0123456789abcdef\nuser: header:x-uid\nsample_stable: 5%\n")
    (tmp_path / "graymw.local.yaml").write_text("strict: true\n")
    assert engine_for(load_settings(environ={}, directory=tmp_path)) is first
    assert engine_for(load_settings(environ={"GRAYMW_TRUST": "all"}, directory=tmp_path)) is not first


def test_an_engine_follows_its_file(tmp_path: Path) -> None:
    file = tmp_path / "graymw.yaml"
    file.write_text("service: edge\n")
    engine = engine_for(load_settings(environ={}, directory=tmp_path))
    file.write_text("service: edge\ntrust: all\n")
    eventually(lambda: engine.snapshot.settings.trust == "all")
    assert engine.settings is engine.snapshot.settings


def test_a_table_of_services_that_changed_in_its_file_makes_no_second_engine(tmp_path: Path) -> None:
    """The first follows the file; whoever asks later gets it."""
    file = tmp_path / "graymw.yaml"
    file.write_text('services: {orders: [{url: "http://127.0.0.1:8001"}]}')
    first = engine_for(load_settings(environ={}, directory=tmp_path))
    file.write_text('services: {orders: [{url: "http://127.0.0.1:9001"}]}')
    assert engine_for(load_settings(environ={}, directory=tmp_path)) is first
    file.write_text('{zone: b, services: {orders: [{url: "http://127.0.0.1:9001"}]}}')
    assert engine_for(load_settings(environ={}, directory=tmp_path)) is not first
